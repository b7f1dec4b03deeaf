"""The forward pass of serving where no CUDA graph runs: whole sequences in place, layers packed.

Processors read every text through it. GPUs read prompts that stand before the text through it, and
take their linear layers for serving from `pack`.
"""
