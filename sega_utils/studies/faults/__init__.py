"""Faults that are injected, and what came of each."""
