"""Slicer's translation of texts; without Slicer's desktop they stay in English."""

try:
    from slicer.i18n import tr
except ImportError:  # slicer-core

    def tr(text):
        return text


__all__ = ["tr"]
