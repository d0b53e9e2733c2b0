"""Reading, cutting and playing back recordings: one reader, on one time axis, for every program."""
