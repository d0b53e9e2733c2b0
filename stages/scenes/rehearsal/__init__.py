"""A rehearsal of a set-up: every stage on a handful of clips, measured, and what follows for the whole data set."""
