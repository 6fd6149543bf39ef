"""Corrected cases of a model, a version of it that learnt from them, and the way back."""
