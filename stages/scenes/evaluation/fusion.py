"""Late fusion of classifiers by fixed rules (the paper, Eqs. 4 to 6).

Each rule takes the probabilities of M members, `[M, ..., classes]`, and returns `[..., classes]` whose last axis sums
to 1. Where a member is NaN (it lacks the clip's modality) the others speak; where all are, the result is NaN.
"""

from collections.abc import Callable

import numpy as np


def mean(members: np.ndarray) -> np.ndarray:
    """MEAN fusion (Eq. 4)."""
    return _normalise(np.where(np.isnan(members), 0, members).sum(axis=0))


def prod(members: np.ndarray) -> np.ndarray:
    """PROD fusion (Eq. 5): log-linear pooling in which every member weighs 1."""
    return log_linear(members, np.ones(len(members)))


def log_linear(members: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-linear pooling: the product of the members' probabilities, each to the power of its weight, `[M]`.

    In the log domain, so that many members do not underflow.
    """
    weighted = weights.reshape(-1, *[1] * (members.ndim - 1)) * logarithms(members)
    total = weighted.sum(axis=0)
    fused = _normalise(np.exp(total - total.max(axis=-1, keepdims=True)))
    return np.where(np.isnan(members).all(axis=0), np.nan, fused)


def logarithms(members: np.ndarray) -> np.ndarray:
    """Log probabilities, float64, finite also for a probability of 0; 0 where a member has no prediction."""
    smallest = np.finfo(np.float64).tiny
    return np.where(np.isnan(members), 0, np.log(np.maximum(members.astype(np.float64), smallest)))


def maximum(members: np.ndarray) -> np.ndarray:
    """MAX fusion (Eq. 6)."""
    return _normalise(np.where(np.isnan(members), 0, members).max(axis=0))


RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mean": mean, "prod": prod, "max": maximum}
LEARNED = ("log_linear", "stacked")  # the rules of scenes.evaluation.learned_fusion, fitted on the validation fold


def _normalise(scores: np.ndarray) -> np.ndarray:
    total = scores.sum(axis=-1, keepdims=True, dtype=np.float64)
    return np.divide(scores, total, out=np.full(scores.shape, np.nan), where=total > 0)
