"""Other servers' ways of asking, one file each, over the one call of `serving.http.calls`."""
