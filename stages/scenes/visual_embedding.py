"""Embeddings of frames by a Keras application, the network made once a process."""

from functools import cache
from pathlib import Path

import numpy as np

from scenes.backend import keras
from scenes.batch_norm import reestimate
from scenes.dataset import SECONDS, open_array
from scenes.image_networks import extractor, pictures
from scenes.inference import BATCH, forward
from scenes.precision import agree, policy

# Clips of which one frame is looked at before the rest, evenly chosen.
SAMPLE = 40


def sample(rows: np.ndarray) -> tuple[int, ...]:
    """Of the rows of clips that have pictures, those that `embedder` looks at."""
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
    """Build a network up to its second-to-last layer, ready for inference.

    Parameters
    ----------
    frames : Path
        uint8 array `[clips, 10, S, S, 3]`.
    clips : tuple of int
        Rows of `frames`, one frame of each to be looked at: for batch norm's averages if the network is untrained, and
        for judging bfloat16.
    network, size, pretrained, weights
        See `scenes.image_networks.extractor`.
    precision : str
        `float32`, `bfloat16`, or `auto`: bfloat16 where it is faster and every embedding looked at keeps a cosine
        similarity to that of float32 above 0.999.
    seed : int
        Seed of an untrained network's weights.

    Returns
    -------
    Model
        From preprocessed pictures `[batch, size, size, 3]` to embeddings `[batch, D]`.
    """
    seconds = np.arange(len(clips)) % SECONDS
    some = pictures(open_array(frames), np.array(clips), seconds, name=network, size=size)
    keras.utils.set_random_seed(seed)
    exact = extractor(network, size, pretrained, weights)
    if not pretrained:
        reestimate(exact, [(some[start : start + BATCH],) for start in range(0, len(some), BATCH)])
    if policy(precision) == "float32":
        return exact
    keras.config.set_dtype_policy(policy(precision))
    fast = extractor(network, size, pretrained=False)
    fast.set_weights(exact.get_weights())
    return fast if precision == "bfloat16" or agree(forward(fast, some), forward(exact, some)) else exact


def embed(frames: np.ndarray, network: keras.Model, name: str, size: int) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of frames uint8 `[clips, 10, S, S, 3]` by the network called `name`."""
    clips, seconds = np.divmod(np.arange(len(frames) * SECONDS), SECONDS)
    embeddings = forward(network, pictures(frames, clips, seconds, name=name, size=size))
    return embeddings.reshape(len(frames), SECONDS, -1)
