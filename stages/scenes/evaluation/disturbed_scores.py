"""What an ensemble keeps of its accuracy when sound or pictures are bad or missing."""

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import clip_probabilities, macro_log_loss, right
from scenes.evaluation.uncertainty import location_interval
from scenes.systems import media_of

CLEAN = "clean"
SCORES = ["condition", "ensemble", "clips", "accuracy", "low", "high", "log_loss",
           "difference", "difference_low", "difference_high"]  # fmt: skip


def seconds_used(count: int) -> np.ndarray:
    """So many of a clip's ten seconds, evenly spaced, int `[count]`."""
    return np.linspace(0, SECONDS, count, endpoint=False).astype(int)


def under_conditions(
    clean: dict[str, np.ndarray], disturbed: dict[str, dict[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """What each classifier says under each condition: what it says of clean clips, unless the condition disturbs it.

    Parameters
    ----------
    clean : dict
        Of each classifier, `family/member`, `[clips, seconds, classes]`.
    disturbed : dict
        Of each condition, the same of the classifiers that it disturbs.

    Returns
    -------
    dict
        Of each condition, of each classifier, `[clips, seconds, classes]`: first `clean`, then those of `disturbed`,
        then `no sound` and `no pictures`, where the classifiers that hear, or see, are NaN.
    """
    missing = {
        condition: {name: np.full_like(array, np.nan) for name, array in clean.items() if medium in media_of(name)}
        for condition, medium in {"no sound": "audio", "no pictures": "video"}.items()
    }
    return {condition: {**clean, **changed} for condition, changed in {CLEAN: {}, **disturbed, **missing}.items()}


def scored(
    conditions: dict[str, dict[str, np.ndarray]],
    ensembles: dict[str, list[str]],
    labels: np.ndarray,
    places: np.ndarray,
) -> pd.DataFrame:
    """Score the PROD fusion of each ensemble under each condition.

    Parameters
    ----------
    conditions : dict
        As `under_conditions` returns them.
    ensembles : dict
        The classifiers of each ensemble; one that lacks the predictions of a member is left out.
    labels, places : ndarray
        Class number and location of each clip, `[clips]`.

    Returns
    -------
    DataFrame
        `condition, ensemble, clips, accuracy, low, high, log_loss, difference, difference_low, difference_high`:
        how many clips have a prediction; accuracy and macro log loss; accuracy less that of the clean clips, on those
        that have both; 95 % intervals over locations. NaN where no clip has a prediction.
    """
    rows = []
    for ensemble, members in ensembles.items():
        unchanged = None
        for condition, said in conditions.items():
            if not set(members) <= set(said):
                continue
            fused = prod(np.stack([clip_probabilities(said[name]) for name in members]))
            hits = right(labels, fused)
            unchanged = hits if condition == CLEAN else unchanged
            known = ~np.isnan(hits)
            loss = macro_log_loss(labels[known], fused[known])
            figures = (*_mean(hits, places), loss, *_mean(hits - unchanged, places))
            rows.append((condition, ensemble, int(known.sum()), *figures))
    return pd.DataFrame(rows, columns=SCORES)


def _mean(values: np.ndarray, places: np.ndarray) -> tuple[float, float, float]:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan"), *location_interval(values, places)
