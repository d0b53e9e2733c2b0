"""Batches of single seconds, read from memory-mapped arrays as training, validation and prediction need them."""

from collections.abc import Callable

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.learning.backend import keras

Samples = np.ndarray | tuple[np.ndarray, ...]
Load = Callable[[np.ndarray, np.ndarray], Samples]


class Batches(keras.utils.PyDataset):
    """All seconds of some clips, in order.

    What is said of a clip's ten seconds holds of any `units` of it, such as the frames of the DCASE baseline.

    Parameters
    ----------
    load : callable
        From clips and seconds, int `[n]` each, to rows as they are on disk, `[n, ...]`, an array or a tuple of them.
    clips : ndarray of int
        Rows of the array behind `load`.
    targets : ndarray
        `[rows, classes]`, one-hot, indexed by the same rows.
    size : int
        Samples in a batch; the last may be smaller.
    units : int
        How many a clip has.
    """

    def __init__(self, load: Load, clips: np.ndarray, targets: np.ndarray, size: int, units: int = SECONDS) -> None:
        super().__init__()
        self.load, self.clips, self.targets, self.size, self.units = load, clips, targets, size, units
        self.pairs = np.stack([np.repeat(clips, units), np.tile(np.arange(units), len(clips))])

    def __len__(self) -> int:
        return -(-self.pairs.shape[1] // self.size)

    def __getitem__(self, index: int) -> tuple[Samples, np.ndarray]:
        clips, seconds = self.pairs[:, index * self.size : (index + 1) * self.size]
        return self.load(clips, seconds), self.targets[clips]


class ShuffledBatches(Batches):
    """A random draw of some seconds of every clip, shuffled anew for each epoch; only whole batches.

    The draw of an epoch depends on the seed and the epoch's number alone, so an interrupted training goes on alike.
    """

    def __init__(
        self,
        load: Load,
        clips: np.ndarray,
        targets: np.ndarray,
        size: int,
        seconds: int,
        seed: int,
        units: int = SECONDS,
    ) -> None:
        super().__init__(load, clips, targets, min(size, seconds * len(clips)), units)
        self.seconds, self.seed = seconds, seed
        self.shuffle(epoch=0)

    def shuffle(self, epoch: int) -> None:
        """Draw the samples of an epoch."""
        self.epoch = epoch
        generator = np.random.default_rng((self.seed, epoch))
        drawn = generator.permuted(np.tile(np.arange(self.units), (len(self.clips), 1)), axis=1)[:, : self.seconds]
        pairs = np.stack([np.repeat(self.clips, self.seconds), drawn.ravel()])
        self.pairs = generator.permutation(pairs, axis=1)

    def __len__(self) -> int:
        return self.pairs.shape[1] // self.size
