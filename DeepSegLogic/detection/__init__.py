"""Lesions as boxes with scores: models that find them, how they are merged and judged, and the files they go into."""
