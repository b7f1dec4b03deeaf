"""Independent pieces of work, done in this process or by workers on a Ray cluster."""
