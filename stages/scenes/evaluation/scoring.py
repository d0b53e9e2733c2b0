"""From predictions to the files that a classifier and an ensemble leave alike: confusion table and metrics."""

from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset.tables import labels, place
from scenes.evaluation.metrics import clip_probabilities, right, scores
from scenes.evaluation.predictions import rows_of
from scenes.evaluation.uncertainty import location_interval
from scenes.stage.outputs import write_csv, write_json


def evaluate(
    split: pd.DataFrame,
    classes: pd.DataFrame,
    probabilities: np.ndarray,
    confusion: Path,
    metrics: Path,
    of_clips: np.ndarray | None = None,
) -> None:
    """Score the evaluate clips. A clip whose class is not known (an unlabelled set) is not scored.

    Parameters
    ----------
    split, classes : DataFrame
        As read by `scenes.dataset.tables`.
    probabilities : ndarray
        `[clips not in train, seconds, classes]` or `[clips not in train, classes]`, NaN where there is no prediction.
    confusion : Path
        Table `actual,predicted`, one row an evaluate clip that is scored.
    metrics : Path
        The figures of `scenes.evaluation.metrics.scores`, and `accuracy_low` and `accuracy_high`, the 95 % interval of
        the accuracy over locations.
    of_clips : ndarray, optional
        `[clips not in train, classes]`, where a clip's probabilities are not the mean over its seconds.
    """
    clips, chosen = split[split["fold"] != "train"], rows_of("evaluate", split, classes)
    if of_clips is None:
        of_clips = clip_probabilities(probabilities) if probabilities.ndim == 3 else probabilities
    clips, probabilities, of_clips = clips[chosen], probabilities[chosen], of_clips[chosen]
    actual = labels(clips, classes)
    low, high = location_interval(right(actual, of_clips), place(clips).to_numpy())
    figures = scores(actual, probabilities, classes["meta_class"].to_numpy(), of_clips)
    write_json(metrics, {"accuracy": figures["accuracy"], "accuracy_low": low, "accuracy_high": high, **figures})

    scored = ~np.isnan(of_clips).any(axis=1)
    names = classes["class"].to_numpy()
    predicted = names[of_clips[scored].argmax(axis=1)]
    write_csv(confusion, pd.DataFrame({"actual": names[actual[scored]], "predicted": predicted}))
