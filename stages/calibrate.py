"""Fit each classifier's temperature on the validation fold, and score what it does to the evaluate clips."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import SECONDS, labels, place, read_classes, read_split
from scenes.evaluation.calibration import COLUMNS, fit_temperature, temper
from scenes.evaluation.metrics import calibration_error, clip_probabilities, log_losses, macro_log_loss
from scenes.evaluation.predictions import read_predictions, rows_of
from scenes.evaluation.uncertainty import location_interval
from scenes.stage.cli import run
from scenes.stage.outputs import write_csv, write_json


def main(
    split: Path,
    classes: Path,
    out: Annotated[Path, typer.Argument(help="output .csv: temperatures, and figures before and after")],
    metrics: Annotated[Path, typer.Argument(help="output .json: means over the classifiers")],
    predictions: Annotated[list[Path], typer.Argument(help="predictions of the classifiers")],
) -> None:
    clips, table = read_split(split), read_classes(classes)
    outside_train = clips[clips["fold"] != "train"]
    actual, places = labels(outside_train, table), place(outside_train).to_numpy()
    validation, evaluate = rows_of("validation", clips, table), rows_of("evaluate", clips, table)

    rows = []
    for path in predictions:
        seconds = read_predictions(path, clips, table)
        fitted = validation & ~np.isnan(seconds).any(axis=(1, 2))
        if not fitted.any():
            print(f"not run: {path}: no validation fold, or no prediction of its clips", file=sys.stderr)
            continue
        temperature = fit_temperature(np.repeat(actual[fitted], SECONDS), seconds[fitted].reshape(-1, len(table)))
        scored = evaluate & ~np.isnan(seconds).any(axis=(1, 2))
        before, after = seconds[scored], temper(seconds[scored], temperature)
        framework = f"{path.parent.name}/{path.stem}"
        of_clips = clip_probabilities(before), clip_probabilities(after)
        of_seconds = (array.reshape(-1, len(table)) for array in (before, after))
        rows += [
            (framework, temperature, "clip", *_figures(actual[scored], places[scored], *of_clips)),
            (framework, temperature, "second",
             *_figures(np.repeat(actual[scored], SECONDS), np.repeat(places[scored], SECONDS), *of_seconds)),
        ]  # fmt: skip
    scaled = pd.DataFrame(rows, columns=COLUMNS)
    write_csv(out, scaled)
    figures = [column for column in COLUMNS if column.endswith(("before", "after"))]
    means = scaled[scaled["protocol"] == "second"][figures].astype(float).mean()
    write_json(metrics, {f"second_{figure}": float(mean) for figure, mean in means.items()})


def _figures(labels: np.ndarray, places: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[float, ...]:
    """Log loss before and after, their difference with its paired interval; calibration error before and after."""
    losses = macro_log_loss(labels, before), macro_log_loss(labels, after)
    change = log_losses(labels, after) - log_losses(labels, before)
    errors = calibration_error(labels, before), calibration_error(labels, after)
    return *losses, losses[1] - losses[0], *location_interval(change, places, labels), *errors


if __name__ == "__main__":
    run(main)
