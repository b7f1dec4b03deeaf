"""What every route stands on: bodies in, the one call, and the service behind it."""
