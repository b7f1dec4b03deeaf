"""Languages, their codes, scripts and clades, and what of a text tells them apart."""
