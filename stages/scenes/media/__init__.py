"""Recordings: finding them in folders, reading and cutting them."""
