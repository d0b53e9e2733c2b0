"""Early exit: an ensemble decides at the first second after which its probability is high enough.

After each second its members' means so far are fused by PROD, as in early detection (the paper, Fig. 4). It stops when
its highest probability reaches a threshold, and else with the clip. Thresholds are chosen on the validation fold.
"""

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import clip_probabilities, right

NEVER = 2.0  # a threshold that no probability reaches
STEPS = 50  # between the quantiles that are tried as thresholds, 2 % of the probabilities

# Columns of metrics/early_exit.csv, early_exit_chosen.csv and early_exit_classes.csv.
CURVE = ["ensemble", "threshold", "validation_accuracy", "validation_seconds", "accuracy", "seconds"]
CHOSEN = ["ensemble", "loss", *CURVE[1:], "full_accuracy", "difference", "low", "high",
          "only_early", "only_full", "p_value"]  # fmt: skip
OF_CLASSES = ["ensemble", "loss", "class", "seconds"]


def growing(members: np.ndarray) -> np.ndarray:
    """PROD fusion of the mean over the first 1, 2, ..., 10 seconds.

    `[M, clips, 10, classes]` to `[10, clips, classes]`, the last being the full clip's; NaN where all members are.
    """
    return np.stack([
        prod(np.stack([clip_probabilities(member[:, :heard]) for member in members])) for heard in range(1, SECONDS + 1)
    ])  # fmt: skip


def waits(members: np.ndarray, needs: np.ndarray) -> np.ndarray:
    """Seconds of the recording that each step of `growing` needs, `[10, clips]`: those of the slowest member.

    Parameters
    ----------
    members : ndarray
        `[M, clips, 10, classes]`; a member without the clip's modality is NaN there, and nothing waits for it.
    needs : ndarray
        `[M, 10]`, of each member, see `scenes.evaluation.needs`.
    """
    known = ~np.isnan(members).any(axis=(2, 3))
    return np.where(known, needs.T[..., None], -np.inf).max(axis=1)


def stop(fused: np.ndarray, seconds: np.ndarray, threshold: float) -> np.ndarray:
    """The step at which each clip is decided, int `[clips]`: the first whose probability reaches `threshold`."""
    sure = fused.max(axis=-1) >= threshold
    sure[:-1] &= seconds[:-1] < seconds[1:]  # of steps known at the same time the last decides
    sure[-1] = True
    return sure.argmax(axis=0)


def decide(
    labels: np.ndarray, fused: np.ndarray, seconds: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each clip is right when it is decided, 1 or 0, and after how many seconds; NaN without a prediction.

    Parameters
    ----------
    labels : ndarray of int
        `[clips]`.
    fused : ndarray
        `[10, clips, classes]`, as from `growing`.
    seconds : ndarray
        `[10, clips]`, as from `waits`.
    threshold : float
    """
    decided = stop(fused, seconds, threshold), np.arange(len(labels))
    hits = right(labels, fused[decided])
    return hits, np.where(np.isnan(hits), np.nan, seconds[decided])


def mean(values: np.ndarray) -> float:
    """The mean of what is not NaN, and NaN of nothing."""
    return pd.Series(values).mean()


def thresholds(fused: np.ndarray) -> np.ndarray:
    """What is worth trying: quantiles of an ensemble's highest probabilities, `NEVER` last.

    Quantiles because these crowd near 1, where an even grid would have few steps.
    """
    return np.append(np.unique(np.nanquantile(fused.max(axis=-1), np.linspace(0, 1, STEPS + 1))), NEVER)


def curve(labels: np.ndarray, fused: np.ndarray, seconds: np.ndarray, thresholds: np.ndarray) -> pd.DataFrame:
    """`threshold, accuracy, seconds`: the means of `decide` at each threshold, over the clips with a prediction."""
    rows = [(threshold, *map(mean, decide(labels, fused, seconds, threshold))) for threshold in thresholds]
    return pd.DataFrame(rows, columns=["threshold", "accuracy", "seconds"])


def choose(curve: pd.DataFrame, loss: float) -> pd.Series:
    """The row of the fewest seconds among those at most `loss` (a fraction) less accurate than the last, the full clip.

    Of equally fast ones, that of the highest threshold.
    """
    good = curve[curve["accuracy"] >= curve["accuracy"].iloc[-1] - loss - 1e-9]
    return good.sort_values(["seconds", "threshold"], ascending=[True, False]).iloc[0]
