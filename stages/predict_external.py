"""Take the predictions of another system as those of a classifier, and score the evaluate clips."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.dataset.tables import read_classes, read_split
from scenes.evaluation.external import read_external
from scenes.evaluation.scoring import evaluate
from scenes.stage.cli import run
from scenes.stage.outputs import write_array


def main(
    split: Path,
    classes: Path,
    external: Annotated[Path, typer.Argument(help="table in DCASE's columns, or .npy: docs/external.md")],
    predictions: Path,
    confusion: Path,
    metrics: Path,
) -> None:
    clips, table = read_split(split), read_classes(classes)
    probabilities = read_external(external, clips, table)
    absent = np.isnan(probabilities).any(axis=(1, 2))
    if absent.any():
        print(f"warning: {external}: {absent.sum()} of {len(absent)} clips have no prediction (NaN)", file=sys.stderr)
    write_array(predictions, probabilities)
    evaluate(clips, table, probabilities, confusion, metrics)


if __name__ == "__main__":
    run(main)
