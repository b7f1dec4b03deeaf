"""The frozen XGLM or BLOOM that runs prompts: checkpoints, tokenizers, and the backbone."""
