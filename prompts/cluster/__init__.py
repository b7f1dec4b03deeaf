"""Ray as every command starts it or joins it: one way for `isogloss serve` and for `--workers`."""
