"""Recordings: finding them in folders, reading them on one time axis, cutting them."""
