"""Fuse the members of an ensemble by every rule (the paper, Eqs. 4 to 6) and score each fusion."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.evaluation.fusion import RULES
from scenes.evaluation.metrics import clip_probabilities
from scenes.evaluation.predictions import read_predictions
from scenes.evaluation.scoring import evaluate
from scenes.stage.cli import run
from scenes.stage.dataset import read_classes, read_split
from scenes.stage.outputs import write_array


def main(
    split: Path,
    classes: Path,
    predictions: Annotated[str, typer.Argument(help="output .npy, {rule} standing for mean, prod and max")],
    confusion: Annotated[str, typer.Argument(help="output .csv, with {rule}")],
    metrics: Annotated[str, typer.Argument(help="output .json, with {rule}")],
    members: Annotated[list[Path], typer.Argument(help="predictions of the members")],
) -> None:
    clips, table = read_split(split), read_classes(classes)
    probabilities = np.stack([clip_probabilities(read_predictions(path, clips, table)) for path in members])
    for rule, fuse in RULES.items():
        fused = fuse(probabilities)
        write_array(Path(predictions.format(rule=rule)), fused.astype(np.float32))
        evaluate(clips, table, fused, Path(confusion.format(rule=rule)), Path(metrics.format(rule=rule)))


if __name__ == "__main__":
    run(main)
