"""Scores of predicted probabilities against true classes, for the paper's protocol and for DCASE's.

The paper counts correct 10-s clips, a clip's probability being the mean over its seconds (Eqs. 2 and 3). DCASE 2021
Task 1B ranks by the macro-averaged log loss. All sums are in float64; macro figures average the classes present.
"""

import numpy as np
from sklearn.metrics import accuracy_score, recall_score


def clip_probabilities(seconds: np.ndarray) -> np.ndarray:
    """A clip's probabilities from those of its seconds, `[clips, seconds, classes]` to `[clips, classes]` (Eq. 2)."""
    return seconds.mean(axis=1, dtype=np.float64)


def macro_log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """DCASE's log loss: the mean over classes of the mean of `-ln p(true class)` over the units of the class.

    Parameters
    ----------
    labels : ndarray of int
        `[units]`.
    probabilities : ndarray
        `[units, classes]`; rows are renormalised, then clipped to [1e-15, 1].

    Returns
    -------
    float
        NaN without units.
    """
    probabilities = probabilities.astype(np.float64)
    probabilities = probabilities / probabilities.sum(axis=-1, keepdims=True)
    losses = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-15, 1))
    present = np.unique(labels)
    return float(np.mean([losses[labels == label].mean() for label in present])) if len(present) else float("nan")


def scores(labels: np.ndarray, probabilities: np.ndarray, meta_classes: np.ndarray) -> dict[str, float]:
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

    Returns
    -------
    dict
        `accuracy`, `macro_accuracy`, `log_loss`, `meta_accuracy` and `clips`, and of single seconds `second_accuracy`
        and `second_log_loss`. Fractions and nats; NaN where no clip was scored.
    """
    scored = ~np.isnan(probabilities).reshape(len(labels), -1).any(axis=1)
    labels, probabilities = labels[scored], probabilities[scored]
    clips = probabilities if probabilities.ndim == 2 else clip_probabilities(probabilities)
    predicted = clips.argmax(axis=-1)
    result = {
        "accuracy": _accuracy(labels, predicted),
        "macro_accuracy": float(recall_score(labels, predicted, labels=np.unique(labels), average="macro"))
        if len(labels)
        else float("nan"),
        "log_loss": macro_log_loss(labels, clips),
        "meta_accuracy": _accuracy(meta_classes[labels], meta_classes[predicted]),
    }
    if probabilities.ndim == 3:
        seconds = probabilities.reshape(-1, probabilities.shape[-1])
        repeated = np.repeat(labels, probabilities.shape[1])
        result["second_accuracy"] = _accuracy(repeated, seconds.argmax(axis=-1))
        result["second_log_loss"] = macro_log_loss(repeated, seconds)
    return {**result, "clips": int(scored.sum())}


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(accuracy_score(labels, predicted)) if len(labels) else float("nan")
