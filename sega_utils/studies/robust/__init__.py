"""Robust training: whether synthetic images pay where a classifier trains against attacks."""
