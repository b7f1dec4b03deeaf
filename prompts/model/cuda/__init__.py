"""The way through the model on an NVIDIA GPU: packed rows, one captured graph for each size.

How it works, and what of it has never been run on a GPU, is told in README.md beside this file.
"""
