"""Scores of predicted probabilities against true classes, for the paper's protocol and for DCASE's.

The paper counts correct 10-s clips, a clip's probability being the mean over its seconds (Eqs. 2 and 3). DCASE 2021
Task 1B scores each second on its own and ranks by the macro-averaged log loss. Every function takes units of either
kind, clips or seconds. All sums are in float64; macro figures average the classes present. scikit-learn takes two
seconds to import and every stage that predicts scores, so it is imported only for what the report alone needs.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

BINS = 15
SMALLEST = 1e-15  # probability that counts in a log loss


def clip_probabilities(seconds: np.ndarray) -> np.ndarray:
    """A clip's probabilities from those of its seconds, `[clips, seconds, classes]` to `[clips, classes]` (Eq. 2)."""
    return seconds.mean(axis=1, dtype=np.float64)


def right(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Whether each unit's most probable class is the true one, `[units]`: 1 or 0, NaN where there is no prediction."""
    scored = ~np.isnan(probabilities).any(axis=-1)
    return np.where(scored, probabilities.argmax(axis=-1) == labels, np.nan)


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """`-ln p(true class)` of each unit in nats, `[units]`, NaN where there is no prediction.

    Rows of `probabilities`, `[units, classes]`, are renormalised, then clipped to [1e-15, 1].
    """
    normalised = _normalised(probabilities)
    return -np.log(np.clip(normalised[np.arange(len(labels)), labels], SMALLEST, 1))


def macro_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """DCASE's log loss: the mean over classes of the mean of `-ln p(true class)` over the units of the class.

    Parameters
    ----------
    labels : ndarray of int
        `[units]`.
    probabilities : ndarray
        `[units, classes]`, as for `log_losses`.

    Returns
    -------
    float
        Nats; NaN without units.
    """
    losses = log_losses(labels, probabilities)
    return _mean([losses[labels == label].mean() for label in np.unique(labels)])


def scores(
    labels: np.ndarray, probabilities: np.ndarray, meta_classes: np.ndarray, of_clips: np.ndarray | None = None
) -> dict[str, float]:
    """The figures of one classifier or ensemble, for `metrics/`.

    Parameters
    ----------
    labels : ndarray of int
        `[clips]`.
    probabilities : ndarray
        `[clips, seconds, classes]`, or `[clips, classes]` for which there are no figures per second. Clips that are
        NaN (without the modality) are not scored.
    meta_classes : ndarray
        `[classes]`, the meta-class of each class.
    of_clips : ndarray, optional
        `[clips, classes]`, where a clip's probabilities are not the mean over its seconds.

    Returns
    -------
    dict
        `accuracy`, `macro_accuracy`, `log_loss`, `meta_accuracy` and `clips`, and of single seconds `second_accuracy`
        and `second_log_loss`. Fractions and nats; NaN where no clip was scored.
    """
    scored = ~np.isnan(probabilities).any(axis=tuple(range(1, probabilities.ndim)))
    if of_clips is None:
        of_clips = probabilities if probabilities.ndim == 2 else clip_probabilities(probabilities)
    labels, probabilities, clips = labels[scored], probabilities[scored], of_clips[scored]
    predicted = clips.argmax(axis=-1)
    result = {
        "accuracy": _mean(predicted == labels),
        "macro_accuracy": _mean([_mean(predicted[labels == label] == label) for label in np.unique(labels)]),
        "log_loss": macro_log_loss(labels, clips),
        "meta_accuracy": _mean(meta_classes[predicted] == meta_classes[labels]),
    }
    if probabilities.ndim == 3:
        seconds = probabilities.reshape(-1, probabilities.shape[-1])
        repeated = np.repeat(labels, probabilities.shape[1])
        result["second_accuracy"] = _mean(seconds.argmax(axis=-1) == repeated)
        result["second_log_loss"] = macro_log_loss(repeated, seconds)
    return {**result, "clips": int(scored.sum())}


def by_class(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Accuracy and log loss of the units of each class.

    Parameters
    ----------
    labels : ndarray of int
        `[units]`.
    probabilities : ndarray
        `[units, classes]`; rows that are NaN are not scored.

    Returns
    -------
    DataFrame
        One row a class: `units` scored, `accuracy`, `log_loss`, the latter two NaN for a class without units.
    """
    figures = {"accuracy": right(labels, probabilities), "log_loss": log_losses(labels, probabilities)}
    grouped = pd.DataFrame(figures).groupby(labels)
    table = grouped.mean().assign(units=grouped["accuracy"].count())[["units", "accuracy", "log_loss"]]
    table = table.reindex(range(probabilities.shape[-1]))
    return table.assign(units=table["units"].fillna(0).astype(int))


def confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How many units of each class (rows) are taken for each class (columns), `[classes, classes]`.

    Units without prediction (NaN) are left out; at least one must have one.
    """
    scored = ~np.isnan(probabilities).any(axis=-1)
    from sklearn.metrics import confusion_matrix

    classes = np.arange(probabilities.shape[-1])
    return confusion_matrix(labels[scored], probabilities[scored].argmax(axis=-1), labels=classes)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """How often a classifier is right when it is so sure (Guo et al. 2017, arXiv 1706.04599, Section 2).

    Parameters
    ----------
    labels : ndarray of int
        `[units]`.
    probabilities : ndarray
        `[units, classes]`; rows that are NaN are not scored.
    bins : int
        Number of equal intervals `(lower, upper]` of the probability of the predicted class.

    Returns
    -------
    DataFrame
        One row for each bin that holds a unit: `units`, and their mean `confidence` and `accuracy`, fractions.
    """
    scored = ~np.isnan(probabilities).any(axis=-1)
    confidence = _normalised(probabilities[scored]).max(axis=-1)
    # Rounding may leave a certain row at 1 + 1e-16.
    number = np.minimum(np.ceil(confidence * bins).astype(int), bins)
    units = pd.DataFrame({"confidence": confidence, "accuracy": right(labels[scored], probabilities[scored])})
    grouped = units.groupby(number)
    return grouped.mean().assign(units=grouped.size())[["units", "confidence", "accuracy"]].reset_index(drop=True)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over the bins of `reliability`."""
    table = reliability(labels, probabilities, bins)
    if table.empty:
        return float("nan")
    return float(np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["units"]))


def brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Brier score: the mean over units of the squared distance from the true class, 0 (perfect) to 2."""
    scored = ~np.isnan(probabilities).any(axis=-1)
    if not scored.any():
        return float("nan")
    from sklearn.metrics import brier_score_loss

    classes = np.arange(probabilities.shape[-1])
    score = brier_score_loss(labels[scored], _normalised(probabilities[scored]), labels=classes, scale_by_half=False)
    return float(score)


def _normalised(probabilities: np.ndarray) -> np.ndarray:
    probabilities = probabilities.astype(np.float64)
    return probabilities / probabilities.sum(axis=-1, keepdims=True)


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
