"""From labelled or parallel text to prompts: runs, populations, and what they leave."""
