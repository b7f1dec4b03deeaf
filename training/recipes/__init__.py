"""How the files that ship were made: pocket models, their prompts, the detector, the languages."""
