"""Mixup: training on mixtures of two samples and of their labels (Zhang et al. 2018; the paper, section III-B)."""

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.batches import Samples, ShuffledBatches
from scenes.stage.errors import InputError

PARTS = ("beta", "original", "uniform")


def mixup(
    samples: Samples, labels: np.ndarray, parts: list[str], alpha: float, generator: np.random.Generator
) -> tuple[Samples, np.ndarray]:
    """Mix the first half of a batch with its second half.

    Each pair of samples gives two mixtures for every part: `beta` draws lambda from Beta(alpha, alpha), `uniform` from
    U(0, 1), each mixing once with lambda and once with 1 - lambda; `original` keeps the pair as it is. All three parts
    make a batch three times as large. Of an odd batch the last sample is left out.

    Parameters
    ----------
    samples : ndarray or tuple of ndarray
        float `[batch, ...]`; of several modalities, a tuple with one array of each, which are mixed alike.
    labels : ndarray
        `[batch, classes]`, rows summing to 1.
    parts : list of str
        Which of `beta`, `original`, `uniform` to make.
    alpha : float
        Parameter of the Beta distribution.
    generator : Generator
        Source of lambda.

    Returns
    -------
    tuple
        Samples and labels, `[2 * len(parts) * (batch // 2), ...]` each, of the types given.
    """
    half = len(labels) // 2
    lambdas = []
    for part in parts:
        drawn = {
            "beta": lambda: generator.beta(alpha, alpha, half),
            "original": lambda: np.ones(half),
            "uniform": lambda: generator.uniform(size=half),
        }[part]()
        lambdas += [drawn, 1 - drawn]

    def mix(values: np.ndarray) -> np.ndarray:
        first, second = values[:half], values[half : 2 * half]
        weight = np.stack(lambdas).astype(values.dtype).reshape(-1, half, *[1] * (values.ndim - 1))
        return (weight * first + (1 - weight) * second).reshape(-1, *values.shape[1:])

    return keras.tree.map_structure(mix, samples), mix(labels)


def check(parts: list[str]) -> None:
    """Raise an `InputError` if mixup cannot run with these parts."""
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(PARTS):
        raise InputError(f"mixup: {', '.join(parts)} is not a choice among {', '.join(PARTS)}")


class MixedBatches(ShuffledBatches):
    """Shuffled batches after mixup, `2 * len(parts) * (size // 2)` samples each."""

    def __init__(self, *arguments, parts: list[str], alpha: float) -> None:
        super().__init__(*arguments)
        self.parts, self.alpha = parts, alpha

    def __getitem__(self, index: int) -> tuple[Samples, np.ndarray]:
        generator = np.random.default_rng((self.seed, self.epoch, index))
        return mixup(*super().__getitem__(index), self.parts, self.alpha, generator)
