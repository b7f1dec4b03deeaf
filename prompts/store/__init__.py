"""Where prompts live: immutable versions, and generations that are swapped whole."""
