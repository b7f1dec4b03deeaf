"""Prompts in repositories of the Hugging Face hub, with a model card made from the prompt's own."""
