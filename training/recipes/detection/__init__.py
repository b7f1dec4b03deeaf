"""Figures of what `isogloss detect --evaluate` measured."""
