"""Makes soft prompts, and the evidence about them."""
