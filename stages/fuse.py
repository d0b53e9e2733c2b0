"""Fuse the members of an ensemble by every rule, fixed (the paper, Eqs. 4 to 6) and learned, and score each fusion."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import labels, place, read_classes, read_split
from scenes.evaluation.fusion import LEARNED, RULES, log_linear
from scenes.evaluation.learned_fusion import fit_log_linear, fit_stacked, shares, stacked
from scenes.evaluation.metrics import clip_probabilities
from scenes.evaluation.predictions import read_predictions, rows_of
from scenes.evaluation.scoring import evaluate
from scenes.stage.cli import run
from scenes.stage.outputs import write_array, write_csv


def main(
    split: Path,
    classes: Path,
    predictions: Annotated[
        str, typer.Argument(help=f"output .npy, {{rule}} standing for {', '.join((*RULES, *LEARNED))}")
    ],
    confusion: Annotated[str, typer.Argument(help="output .csv, with {rule}")],
    metrics: Annotated[str, typer.Argument(help="output .json, with {rule}")],
    members: Annotated[list[Path], typer.Argument(help="predictions of the members")],
    weights: Annotated[Path, typer.Option(help="output .csv: how much the learned rules hear of each member")],
) -> None:
    clips, table = read_split(split), read_classes(classes)
    probabilities = np.stack([clip_probabilities(read_predictions(path, clips, table)) for path in members])
    fused = {rule: fuse(probabilities) for rule, fuse in RULES.items()}

    outside_train = clips[clips["fold"] != "train"]
    fitted = rows_of("validation", clips, table) & ~np.isnan(fused["prod"]).any(axis=1)
    actual, places = labels(outside_train, table)[fitted], place(outside_train).to_numpy()[fitted]
    if len(np.unique(actual)) > 1:
        pooling = fit_log_linear(probabilities[:, fitted], actual)
        regression = fit_stacked(probabilities[:, fitted], actual, places)
        fused |= {"log_linear": log_linear(probabilities, pooling), "stacked": stacked(probabilities, regression)}
        heard = {"log_linear": pooling, "stacked": shares(regression, len(members))}
    else:
        print(f"not run: {' and '.join(LEARNED)}: no validation fold, or of one class", file=sys.stderr)
        fused |= dict.fromkeys(LEARNED, np.full_like(fused["prod"], np.nan))
        heard = dict.fromkeys(LEARNED, np.nan)

    for rule, array in fused.items():
        write_array(Path(predictions.format(rule=rule)), array.astype(np.float32))
        evaluate(clips, table, array, Path(confusion.format(rule=rule)), Path(metrics.format(rule=rule)))
    write_csv(weights, pd.DataFrame({"member": [f"{path.parent.name}/{path.stem}" for path in members], **heard}))


if __name__ == "__main__":
    run(main)
