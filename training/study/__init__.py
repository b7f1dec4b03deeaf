"""The experiments of Philippy et al. (2024), as one command."""
