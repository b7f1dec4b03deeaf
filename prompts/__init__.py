"""What a soft prompt is, where prompts live, and the frozen backbone that runs them."""
