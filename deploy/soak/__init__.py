"""Long runs against a whole server: a thousand swaps, killed replicas, overload, memory."""
