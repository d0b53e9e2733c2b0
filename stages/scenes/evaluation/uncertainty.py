"""How far a figure may be chance: intervals over locations, and a paired test.

About 29 evaluate clips of TAU Urban Audio-Visual Scenes 2021 share a location, and a classifier that fails at a place
fails on most of its clips. So the bootstrap draws whole locations, not clips.
"""

from functools import lru_cache

import numpy as np

DRAWS = 2000
LEVEL = 0.95
FEWEST = (
    6  # differing clips with which McNemar's two-sided p can be below 1 - LEVEL: it is 0.031 if all favour one side
)


def location_interval(
    values: np.ndarray, places: np.ndarray, labels: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over clips, by a bootstrap of their locations.

    An accuracy is the mean of 1 and 0. For the difference of two classifiers on the same clips, `values` is the
    difference of theirs: a paired bootstrap.

    Parameters
    ----------
    values : ndarray
        `[clips]`; clips that are NaN (not scored) are left out.
    places : ndarray of str
        `[clips]`, the location of each.
    labels : ndarray of int, optional
        `[clips]`; with them, the mean over classes of the mean over the class's clips, as in the macro log loss. A
        draw without a class averages the others.
    draws : int
        How often as many locations as there are get drawn with replacement.
    seed : int
        Of the draws.

    Returns
    -------
    low, high : float
        In the unit of `values`; NaN where the clips share fewer than two locations, which tells nothing of others.
    """
    scored = ~np.isnan(values)
    _, location = np.unique(places[scored], return_inverse=True)
    count = location.max(initial=-1) + 1
    if count < 2:
        return float("nan"), float("nan")
    _, column = np.unique(labels[scored] if labels is not None else np.zeros(scored.sum()), return_inverse=True)
    columns = column.max() + 1
    cell = location * columns + column
    sums = np.bincount(cell, values[scored], count * columns).reshape(count, columns)
    clips = np.bincount(cell, minlength=count * columns).reshape(count, columns)
    times = _times_drawn(count, draws, seed)
    drawn = times @ clips
    means = np.divide(times @ sums, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    low, high = np.quantile(np.nanmean(means, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=32)
def _times_drawn(locations: int, draws: int, seed: int) -> np.ndarray:
    """How often each draw takes each location, float64 `[draws, locations]`."""
    generator = np.random.default_rng(seed)
    times = generator.multinomial(locations, np.full(locations, 1 / locations), size=draws).astype(np.float64)
    times.flags.writeable = False
    return times


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test of two classifiers on the same clips (McNemar 1947; exact: a binomial test).

    It takes clips for independent, which clips of one location are not: beside the bootstrap it errs towards finding
    a difference.

    Parameters
    ----------
    first, second : ndarray
        `[clips]`, 1 where right and 0 where wrong; a clip that is NaN in either is left out.

    Returns
    -------
    only_first, only_second : int
        Clips that only the one got right.
    p_value : float
        Two-sided.
    """
    from scipy.stats import binomtest  # takes a second to import, and every stage that scores imports this module

    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    discordant = only_first + only_second
    return only_first, only_second, float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
