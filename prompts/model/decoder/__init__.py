"""The prompt-aware forward pass, and what runs in it on any device."""
