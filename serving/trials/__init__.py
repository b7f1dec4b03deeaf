"""Candidates on trial: whom they answer, what is counted, and when they go."""
