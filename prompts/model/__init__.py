"""The frozen language model that runs prompts: checkpoints, tokenizers, and the backbone."""
