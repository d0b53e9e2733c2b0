"""Fusion, scores, and how far they may be chance."""
