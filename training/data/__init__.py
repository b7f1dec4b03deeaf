"""Labelled and parallel text: data sets, few-shot samples, and clades with evidence."""
