"""`isogloss bench`: measurements against named peers, on the same weights, in the same run."""
