"""What prompts answer, sentence by sentence, and how often they are right."""
