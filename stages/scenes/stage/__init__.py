"""What every stage has: a command line, plain errors, whole outputs, resuming. Nothing here changes a number."""
