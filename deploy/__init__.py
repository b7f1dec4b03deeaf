"""What puts the system on a machine or a cluster: commands, benchmarks, Ray Serve configuration."""
