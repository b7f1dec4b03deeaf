"""What commands say to a person, and how they ask a server."""
