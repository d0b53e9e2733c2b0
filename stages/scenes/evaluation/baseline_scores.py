"""How the DCASE 2021 Task 1B baseline turns predictions of single frames into scores.

A frame is one of the T embeddings of a clip, 96 as published.
"""

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import prod


def seconds(frames: np.ndarray) -> np.ndarray:
    """The frames scored as a clip's ten seconds, each on its own, `[clips, T, classes]` to `[clips, 10, classes]`."""
    return frames[:, np.linspace(0, frames.shape[1], SECONDS, endpoint=False).astype(int)]


def clips(frames: np.ndarray) -> np.ndarray:
    """A clip's probabilities, `[clips, T, classes]` to `[clips, classes]`: the sum of its frames' log-softmax."""
    return prod(frames.swapaxes(0, 1))
