"""The prompts and routes that ship: `isogloss tailor` on each pocket model, put into one store."""
