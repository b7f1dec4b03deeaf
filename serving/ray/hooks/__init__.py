"""What reaches into Ray Serve, HAProxy and uvicorn where they have no public way; see `guard`."""
