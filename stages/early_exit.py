"""Decide early when an ensemble is sure: thresholds chosen on the validation fold, applied to the evaluate clips.

Seconds are those of the recording that have to be read; an ensemble waits for its slowest member.
"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import labels, place, read_classes, read_split
from scenes.evaluation.needs import read_needs
from scenes.evaluation.predictions import read_predictions, rows_of, units_of, with_families
from scenes.evaluation.stopping_rule import (
    CHOSEN,
    CURVE,
    NEVER,
    OF_CLASSES,
    choose,
    curve,
    decide,
    growing,
    mean,
    thresholds,
    waits,
)
from scenes.evaluation.uncertainty import location_interval, mcnemar
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.outputs import write_csv, write_json
from scenes.systems import needs_of

VALIDATION = {"accuracy": "validation_accuracy", "seconds": "validation_seconds"}


def main(
    split: Path,
    classes: Path,
    out: Annotated[Path, typer.Argument(help="output .csv: the curve of each ensemble")],
    chosen: Annotated[Path, typer.Argument(help="output .csv: the thresholds chosen, against the full clip")],
    by_class: Annotated[Path, typer.Argument(help="output .csv: mean seconds of each class")],
    metrics: Annotated[Path, typer.Argument(help="output .json: mean seconds and accuracies at the first loss")],
    predictions: Annotated[str, typer.Argument(help="predictions of a classifier, with {classifier}")],
    ensembles: Annotated[list[str], typer.Argument(help="ENSEMBLE=family/member,member,...")],
    needs: Annotated[str, typer.Option(help="seconds that the patches of a spectrogram need, with {kind}")],
    unit: options.UnitsOf = (),
    losses: Annotated[
        list[float], typer.Option(help="accuracy that may be lost on the validation fold, points", min=0.0, max=100.0)
    ] = (0.0, 0.5, 1.0),
) -> None:
    clips, table = read_split(split), read_classes(classes)
    outside_train = clips[clips["fold"] != "train"]
    actual, places = labels(outside_train, table), place(outside_train).to_numpy()
    validation, evaluate = rows_of("validation", clips, table), rows_of("evaluate", clips, table)

    def of_patches(kind: str) -> np.ndarray:
        return read_needs(Path(needs.format(kind=kind)))

    units = units_of(unit)
    curves, exits, of_classes = [], [], []
    for ensemble, _, members in (entry.partition("=") for entry in ensembles):
        names = with_families(members.split(","))
        files = [Path(predictions.format(classifier=name)) for name in names]
        said = np.stack([read_predictions(path, clips, table) for path in files])
        known = [needs_of(name, units.get(name, "second"), of_patches) for name in names]
        steps = growing(said), waits(said, np.stack(known))
        held_out, unseen = ([step[:, rows] for step in steps] for rows in (validation, evaluate))
        if np.isnan(held_out[0]).all():
            print(f"not run: {ensemble}: no validation fold, or no prediction of its clips", file=sys.stderr)
            continue
        tried = thresholds(held_out[0])
        before, here = curve(actual[validation], *held_out, tried), curve(actual[evaluate], *unseen, tried)
        curves.append(before.rename(columns=VALIDATION).join(here[["accuracy", "seconds"]]).assign(ensemble=ensemble))
        full = decide(actual[evaluate], *unseen, NEVER)[0]
        for loss in losses:
            threshold, *figures = choose(before, loss / 100)
            early, seconds = decide(actual[evaluate], *unseen, threshold)
            exits.append((ensemble, loss, threshold, *figures, *map(mean, (early, seconds, full, early - full)),
                          *location_interval(early - full, places[evaluate]), *mcnemar(early, full)))  # fmt: skip
            of_classes += [(ensemble, loss, name, mean(seconds[actual[evaluate] == number]))
                           for number, name in enumerate(table["class"])]  # fmt: skip
    write_csv(out, pd.concat([pd.DataFrame(columns=CURVE), *curves])[CURVE])
    exits = pd.DataFrame(exits, columns=CHOSEN)
    write_csv(chosen, exits)
    write_csv(by_class, pd.DataFrame(of_classes, columns=OF_CLASSES))
    first = exits[exits["loss"] == losses[0]].set_index("ensemble")
    write_json(metrics, {f"{ensemble}_{figure}": first.loc[ensemble, figure]
                         for ensemble in first.index for figure in ("accuracy", "seconds")})  # fmt: skip


if __name__ == "__main__":
    run(main)
