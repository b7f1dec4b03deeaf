"""Scores that are as often right as they say: temperatures, and how well they do."""
