"""Folders whose right answer is known, and how often the judge gives it."""
