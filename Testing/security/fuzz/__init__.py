"""Mutated files for every reader, with a seed, in a child process with limits: ``make fuzz``.

A case is told by its target, seed and number, and is the same every time.
"""
