"""Mixup: training on mixtures of two samples and of their labels (Zhang et al. 2018; the paper, section III-B)."""

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.batches import Samples, ShuffledBatches
from scenes.stage.errors import InputError

PARTS = ("beta", "original", "uniform")


def draw(parts: list[str], alpha: float, pairs: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how much of a pair's first sample is in each of its mixtures.

    Each pair of samples gives two mixtures for every part: `beta` draws lambda from Beta(alpha, alpha), `uniform` from
    U(0, 1), each mixing once with lambda and once with 1 - lambda; `original` keeps the pair as it is. All three parts
    make a batch three times as large.

    Parameters
    ----------
    parts : list of str
        Which of `beta`, `original`, `uniform` to make.
    alpha : float
        Parameter of the Beta distribution.
    pairs : int
        How many pairs.
    generator : Generator
        Source of lambda.

    Returns
    -------
    ndarray
        `[pairs, mixtures_of(parts)]`.
    """
    drawn = {
        "beta": lambda: generator.beta(alpha, alpha, pairs),
        "original": lambda: np.ones(pairs),
        "uniform": lambda: generator.uniform(size=pairs),
    }
    lambdas = [drawn[part]() for part in parts]
    return np.stack([weight for each in lambdas for weight in (each, 1 - each)], axis=1)


def mix(samples, weights):
    """Mix the two samples of each pair, or their labels.

    Parameters
    ----------
    samples : array or tensor
        float `[pairs, 2, ...]`.
    weights : array or tensor
        `[pairs, mixtures]`, as drawn by `draw`.

    Returns
    -------
    array or tensor
        `[pairs, mixtures, ...]`.
    """
    weights = weights[(..., *[None] * (len(samples.shape) - 2))]
    return weights * samples[:, :1] + (1 - weights) * samples[:, 1:]


def check(parts: list[str]) -> None:
    """Raise an `InputError` if mixup cannot run with these parts."""
    if not parts or len(set(parts)) < len(parts) or not set(parts) <= set(PARTS):
        raise InputError(f"mixup: {', '.join(parts)} is not a choice among {', '.join(PARTS)}")


class Mixture(keras.layers.Layer):
    """Mixup on the device: samples `[2 * pairs, ...]`, those of a pair side by side, become `[mixtures * pairs, ...]`.

    In float32 under every policy, as the samples are on disk or better.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def call(self, samples, weights):
        mixed = mix(keras.ops.reshape(samples, (-1, 2, *samples.shape[1:])), weights)
        return keras.ops.reshape(mixed, (-1, *samples.shape[1:]))

    def compute_output_spec(self, samples, weights):  # Keras would find it out by an odd number of samples
        return keras.KerasTensor((None, *samples.shape[1:]), "float32")


class MixedBatches(ShuffledBatches):
    """Shuffled batches whose first halves are to be mixed with their second halves, in micro-batches of whole pairs.

    Of an odd batch the last sample is left out. Labels are mixed here, samples on the device: a micro-batch is a tuple
    of what `load` gives, `[pairs, 2, ...]` each, and the weights of `draw`; and the labels, `[pairs, mixtures,
    classes]`.

    Parameters
    ----------
    parts, alpha
        See `draw`.
    micro_batch : int or None
        Samples after mixup that are on the device at once; None, a whole batch. If the batch is one of fewer samples,
        since there are no more, it is cut into the largest equal parts within it.

    Raises
    ------
    InputError
        If a whole batch cannot be cut into such parts, or there is a single sample.
    """

    def __init__(self, *arguments, parts: list[str], alpha: float, micro_batch: int | None = None) -> None:
        size = arguments[3]
        super().__init__(*arguments)
        self.parts, self.alpha = parts, alpha
        if self.size < 2:
            raise InputError("mixup: there is one sample to train on, and nothing to mix it with")
        self.mixtures = mixtures_of(parts)
        of_whole = divisors(size // 2)
        if micro_batch is not None and (micro_batch % self.mixtures or micro_batch // self.mixtures not in of_whole):
            allowed = ", ".join(str(self.mixtures * pairs) for pairs in of_whole)
            raise InputError(
                f"micro_batch: {micro_batch} does not divide a batch of {size}, of which mixup makes "
                f"{self.mixtures * (size // 2)} samples, {self.mixtures} of a pair; set it to one of {allowed}"
            )
        most = max(of_whole) if micro_batch is None else micro_batch // self.mixtures
        self.pairs_at_once = max(pairs for pairs in divisors(self.size // 2) if pairs <= most)
        self.micro_batches = self.size // 2 // self.pairs_at_once  # of a batch
        self.start = 0  # micro-batches of an epoch that are left out, since they were seen before a kill

    def __len__(self) -> int:
        return super().__len__() * self.micro_batches - self.start

    def __getitem__(self, index: int) -> tuple[tuple[Samples, np.ndarray], np.ndarray]:
        batch, part = divmod(self.start + index, self.micro_batches)
        half = self.size // 2
        some = slice(part * self.pairs_at_once, (part + 1) * self.pairs_at_once)
        pairs = self.pairs[:, batch * self.size :][:, : 2 * half].reshape(2, 2, half)[..., some]
        clips, seconds = pairs.swapaxes(1, 2).reshape(2, -1)  # the samples of a pair side by side
        weights = draw(self.parts, self.alpha, half, np.random.default_rng((self.seed, self.epoch, batch)))
        weights = weights[some].astype(np.float32)
        paired = keras.tree.map_structure(
            lambda array: array.reshape(-1, 2, *array.shape[1:]), (self.load(clips, seconds), self.targets[clips])
        )
        return (paired[0], weights), mix(paired[1], weights)


def mixtures_of(parts: list[str]) -> int:
    """Samples that mixup makes of a pair, see `draw`."""
    return 2 * len(parts)


def divisors(number: int) -> list[int]:
    """Whole numbers that divide another, ascending."""
    return [divisor for divisor in range(1, number + 1) if not number % divisor]
