"""Simulated worlds whose truth is known: does the rule claim what comes true, and what it gains."""
