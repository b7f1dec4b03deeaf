"""How a processor runs the backbone: whole sequences in place, weights packed or in eight bits."""
