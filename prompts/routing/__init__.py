"""Which prompt answers for which clade, and which candidate is on trial beside it."""
