"""Volumes, label maps and what can be said of them."""
