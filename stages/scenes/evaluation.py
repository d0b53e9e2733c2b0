"""From predictions to the files that a classifier and an ensemble leave alike: confusion table and metrics."""

from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset import labels
from scenes.metrics import clip_probabilities, scores
from scenes.outputs import write_csv, write_json


def evaluate(
    split: pd.DataFrame, classes: pd.DataFrame, probabilities: np.ndarray, confusion: Path, metrics: Path
) -> None:
    """Score the evaluate clips.

    Parameters
    ----------
    split, classes : DataFrame
        As read by `scenes.dataset`.
    probabilities : ndarray
        `[clips not in train, seconds, classes]` or `[clips not in train, classes]`, NaN where there is no prediction.
    confusion : Path
        Table `actual,predicted`, one row an evaluate clip that has a prediction.
    metrics : Path
        The figures of `scenes.metrics.scores`.
    """
    clips = split[split["fold"] != "train"]
    chosen = (clips["fold"] == "evaluate").to_numpy()
    actual, probabilities = labels(clips[chosen], classes), probabilities[chosen]
    write_json(metrics, scores(actual, probabilities, classes["meta_class"].to_numpy()))

    if probabilities.ndim == 3:
        probabilities = clip_probabilities(probabilities)
    scored = ~np.isnan(probabilities).any(axis=1)
    names = classes["class"].to_numpy()
    predicted = names[probabilities[scored].argmax(axis=1)]
    write_csv(confusion, pd.DataFrame({"actual": names[actual[scored]], "predicted": predicted}))
