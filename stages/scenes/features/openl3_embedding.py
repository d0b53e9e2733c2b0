"""OpenL3 embeddings of clips, the network made once a process."""

import warnings
from functools import cache
from pathlib import Path

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.features.openl3 import load, network
from scenes.features.openl3_input import RATE, read_pictures, read_spectrograms, window_starts
from scenes.learning.backend import keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.inference import BATCH, forward
from scenes.learning.precision import policy
from scenes.stage.errors import MediaWarning

# Windows for an untrained network's batch norm: some of some clips, both evenly chosen.
SAMPLE_CLIPS, SAMPLE_WINDOWS = 8, 5


def windows(hop: float) -> int:
    """How many embeddings a clip has."""
    return len(window_starts(SECONDS * RATE, hop))


def read_inputs(path: str, modality: str, hop: float) -> np.ndarray:
    """What the network of a modality looks at in a clip, float32 `[T, ...]`."""
    return read_spectrograms(path, hop) if modality == "audio" else read_pictures(path, windows(hop))


@cache
def embedder(
    modality: str,
    paths: tuple[str, ...],
    hop: float,
    widths: tuple[int, ...],
    weights: Path | None,
    precision: str,
    seed: int,
) -> keras.Model:
    """Build a network ready for inference.

    Parameters
    ----------
    modality, widths
        See `scenes.features.openl3.network`.
    paths : tuple of str
        The clips, some of which give an untrained network's batch norm its averages: train clips alone.
    hop : float
        Seconds between two windows.
    weights : Path or None
        File for `scenes.features.openl3.load`; None for seeded untrained weights.
    precision : str
        `float32` or `bfloat16`.
    seed : int
        Seed of untrained weights.

    Returns
    -------
    Model
        As `scenes.features.openl3.network` returns.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(policy(precision))
    net = network(modality, list(widths))
    if weights:
        load(net, weights)
        return net
    chosen = np.linspace(0, len(paths) - 1, min(SAMPLE_CLIPS, len(paths))).astype(int)
    of_clip = np.linspace(0, windows(hop) - 1, min(SAMPLE_WINDOWS, windows(hop))).astype(int)
    with warnings.catch_warnings(action="ignore", category=MediaWarning):  # map_clips counts them
        some = np.concatenate([read_inputs(paths[clip], modality, hop)[of_clip] for clip in chosen])
    reestimate(net, [(some[start : start + BATCH],) for start in range(0, len(some), BATCH)])
    return net


def embed(inputs: np.ndarray, network: keras.Model) -> np.ndarray:
    """Embeddings float32 `[clips, T, 512]` of what `read_inputs` gives of some clips, `[clips, T, ...]`."""
    return forward(network, inputs.reshape(-1, *inputs.shape[2:])).reshape(*inputs.shape[:2], -1)
