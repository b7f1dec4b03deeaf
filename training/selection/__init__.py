"""Which prompt answers for which clade: evidence, what may be concluded from it, and its proof."""
