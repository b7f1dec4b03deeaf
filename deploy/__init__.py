"""What puts the system on a machine or a cluster: command line, benchmarks, Ray Serve configuration."""
