"""What every stage has: a command line, plain errors, whole outputs, the tables of clips and classes."""
