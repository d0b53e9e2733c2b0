"""How `stages/repro.py` runs the pipeline: DVC's part of a stage, and its command in a process of its own."""
