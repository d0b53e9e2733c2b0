"""Embeddings of frames by a Keras application, the network made once a process."""

from functools import cache
from pathlib import Path

import numpy as np

from scenes.classifiers.image_networks import extractor, front
from scenes.dataset.tables import SECONDS, open_array, read_media, train_rows
from scenes.learning.backend import keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.front import behind
from scenes.learning.inference import BATCH, forward
from scenes.learning.precision import policy

# Clips of which one frame is for an untrained network's batch norm, evenly chosen.
SAMPLE = 40


def sample(media: Path, pretrained: bool) -> tuple[int, ...]:
    """Of the rows of `data/media.csv` whose clips have pictures, those that `embedder` looks at.

    For an untrained network they are train clips alone.

    Raises
    ------
    InputError
        If there is none.
    """
    rows = np.flatnonzero(read_media(media, "video")) if pretrained else train_rows(media, "video")
    return tuple(rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(int)].tolist())


@cache
def embedder(
    frames: Path,
    clips: tuple[int, ...],
    network: str,
    size: int,
    pretrained: bool,
    weights: str,
    precision: str,
    seed: int,
) -> keras.Model:
    """Build a network up to its second-to-last layer, with its preprocessing in front, ready for inference.

    Parameters
    ----------
    frames : Path
        uint8 array `[clips, 10, S, S, 3]`.
    clips : tuple of int
        Rows of `frames`, one frame of each gives an untrained network's batch norm its averages.
    network, size, pretrained, weights
        See `scenes.classifiers.image_networks.extractor`.
    precision : str
        `float32` or `bfloat16`.
    seed : int
        Seed of an untrained network's weights.

    Returns
    -------
    Model
        From frames uint8 `[batch, S, S, 3]` to embeddings `[batch, D]`.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy(precision))
    stored = open_array(frames)
    net = behind(front(network, size, stored.shape[-2]), extractor(network, size, pretrained, weights))
    if not pretrained:
        some = stored[np.array(clips), np.arange(len(clips)) % SECONDS]
        reestimate(net, [(some[start : start + BATCH],) for start in range(0, len(some), BATCH)])
    return net


def embed(frames: np.ndarray, network: keras.Model) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of frames uint8 `[clips, 10, S, S, 3]` by a network of `embedder`."""
    return forward(network, frames.reshape(-1, *frames.shape[2:])).reshape(*frames.shape[:2], -1)
