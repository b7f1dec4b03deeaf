"""`isogloss doctor`: looks at what a server would meet on this machine, and says what to do."""
