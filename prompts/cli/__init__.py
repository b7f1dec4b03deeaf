"""`isogloss prompts`: the commands that look into a store and change it."""
