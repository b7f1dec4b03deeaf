"""`isogloss serve`, `classify`, `detect` and `trials`."""
