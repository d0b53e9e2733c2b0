"""Early detection (the paper, Fig. 4): score single classifiers and PROD ensembles after 1, 2, ..., 10 segments.

The column `seconds` is the paper's abscissa, the number of one-second segments. How much of the recording a segment
needs depends on the classifier, see `scenes.evaluation.needs`.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import SECONDS, labels, read_classes, read_split
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import clip_probabilities, scores
from scenes.evaluation.predictions import read_predictions, rows_of
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, write_json


def main(
    split: Path,
    classes: Path,
    out: Path,
    metrics: Path,
    curves: Annotated[
        list[str], typer.Argument(help="NAME=predictions.npy for a classifier, or NAME=NAME,NAME,... for their PROD")
    ] = (),
) -> None:
    clips, table = read_split(split), read_classes(classes)
    evaluated = rows_of("evaluate", clips, table)
    actual = labels(clips[clips["fold"] != "train"][evaluated], table)

    seconds: dict[str, np.ndarray] = {}
    rows = []
    for curve in curves:
        framework, _, source = curve.partition("=")
        if source.endswith(".npy"):
            seconds[framework] = read_predictions(Path(source), clips, table)[evaluated]
        members = [framework] if framework in seconds else source.split(",")
        if not set(members) <= set(seconds):
            raise InputError(f"{curve}: name its members' .npy files before it, as NAME=predictions.npy")
        for heard in range(1, SECONDS + 1):
            fused = prod(np.stack([clip_probabilities(seconds[member][:, :heard]) for member in members]))
            score = scores(actual, fused, table["meta_class"].to_numpy())
            rows.append((framework, heard, score["accuracy"], score["log_loss"]))
    detection = pd.DataFrame(rows, columns=["framework", "seconds", "accuracy", "log_loss"])
    write_csv(out, detection)
    ends = detection[detection["seconds"].isin([1, SECONDS])]
    write_json(metrics, {f"{row.framework}_{row.seconds}s": row.accuracy for row in ends.itertuples()})


if __name__ == "__main__":
    run(main)
