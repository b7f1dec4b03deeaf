"""How languages are alike, what a model saw of them, and how transfer goes with either."""
