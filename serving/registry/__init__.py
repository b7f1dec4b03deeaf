"""What is loaded and served: snapshots of prompts, and how the next one takes their place."""
