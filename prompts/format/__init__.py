"""A soft prompt and its file, the labels it answers with, and PEFT's files in and out."""
