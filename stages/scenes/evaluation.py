"""From predictions to the files that a classifier and an ensemble leave alike: confusion table and metrics."""

from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset import labels, place
from scenes.metrics import clip_probabilities, right, scores
from scenes.outputs import write_csv, write_json
from scenes.uncertainty import location_interval


def evaluate(
    split: pd.DataFrame, classes: pd.DataFrame, probabilities: np.ndarray, confusion: Path, metrics: Path
) -> None:
    """Score the evaluate clips. A clip whose class is not known (an unlabelled set) is not scored.

    Parameters
    ----------
    split, classes : DataFrame
        As read by `scenes.dataset`.
    probabilities : ndarray
        `[clips not in train, seconds, classes]` or `[clips not in train, classes]`, NaN where there is no prediction.
    confusion : Path
        Table `actual,predicted`, one row an evaluate clip that is scored.
    metrics : Path
        The figures of `scenes.metrics.scores`, and `accuracy_low` and `accuracy_high`, the 95 % interval of the
        accuracy over locations.
    """
    clips = split[split["fold"] != "train"]
    chosen = ((clips["fold"] == "evaluate") & clips["scene"].isin(classes["class"])).to_numpy()
    clips, probabilities = clips[chosen], probabilities[chosen]
    actual = labels(clips, classes)
    averaged = clip_probabilities(probabilities) if probabilities.ndim == 3 else probabilities
    low, high = location_interval(right(actual, averaged), place(clips).to_numpy())
    figures = scores(actual, probabilities, classes["meta_class"].to_numpy())
    write_json(metrics, {"accuracy": figures["accuracy"], "accuracy_low": low, "accuracy_high": high, **figures})

    scored = ~np.isnan(averaged).any(axis=1)
    names = classes["class"].to_numpy()
    predicted = names[averaged[scored].argmax(axis=1)]
    write_csv(confusion, pd.DataFrame({"actual": names[actual[scored]], "predicted": predicted}))
