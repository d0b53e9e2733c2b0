"""DCASE's one-second protocol for the audio-spectrogram networks: a second is heard without its neighbours.

A patch of a ten-second spectrogram spans 1.858 s, and a CQT filter up to 3.41 s. Here each second has a spectrogram of
its own, made of its own samples with zeros around them: 72 frames, which are repeated to fill a patch of 128.
"""

from functools import cache, partial

import numpy as np

from scenes.classifiers.patches import delta_maps, mapped, strict_shape
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load


@cache
def _operator(frames: int, width: int) -> np.ndarray:
    """Linear map from a second's frames to a patch, its deltas and delta-deltas, float32 `[frames, 3 * width]`."""
    wrapped = np.arange(width) % frames
    return np.concatenate([full[:, wrapped] for full in delta_maps(frames)], axis=-1).astype(np.float32)


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to patches `[n, bins, frames, 6]`; `arrays` is one of spectrograms of single seconds."""
    return partial(strict_patches, *arrays)


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """VGG14 for such patches."""
    return vgg14(classes, options, strict_shape(*arrays))


def strict_patches(spectrograms: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Make one patch of each pair of a clip and a second: deltas first, then wrapped to a patch's width.

    Parameters
    ----------
    spectrograms : ndarray
        `[clips, 10, 2, bins, frames]`, a spectrogram a second, may be memory-mapped.
    clips, seconds : ndarray of int
        `[n]` each; seconds count from 0 to 9.

    Returns
    -------
    ndarray
        float32 `[n, bins, width, 6]`, width as by `strict_shape`, channels as those of
        `scenes.classifiers.patches.patches`.
    """
    operator = _operator(spectrograms.shape[-1], strict_shape(spectrograms)[1])
    return mapped(spectrograms[clips, seconds].astype(np.float32), operator)
