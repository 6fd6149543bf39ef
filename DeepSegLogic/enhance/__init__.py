"""Cleaner images before a segmentation: less noise, thinner slices, fewer metal streaks. Never in place of the CT."""
