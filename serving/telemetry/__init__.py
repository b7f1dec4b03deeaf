"""What a server writes down, counts and traces."""
