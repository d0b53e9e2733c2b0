"""DCASE's one-second protocol for the audio-spectrogram networks: a second is heard without its neighbours.

A patch of a ten-second spectrogram spans 1.858 s, and a CQT filter up to 3.41 s. Here each second has a spectrogram of
its own, made of its own samples with zeros around them: 72 frames, which are repeated to fill a patch of 128.
"""

from functools import cache

import numpy as np

from scenes.classifiers.patch_layer import Patches
from scenes.classifiers.patches import delta_maps, strict_shape
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
    """From clips and seconds to spectrograms `[n, 2, bins, frames]`; `arrays` is one of those of single seconds."""
    (spectrograms,) = arrays
    return lambda clips, seconds: spectrograms[clips, seconds]


def front(options: Options, arrays: list[Rows]) -> keras.Model:
    """From that to patches `[n, bins, width, 6]`: deltas first, then wrapped to a patch's width.

    The width is as by `strict_shape`, the channels are those of `scenes.classifiers.patch_layer.Patches`.
    """
    (spectrograms,) = arrays
    frames = keras.Input(spectrograms.shape[2:], dtype=str(spectrograms.dtype))
    maps = _operator(spectrograms.shape[-1], strict_shape(spectrograms)[1])
    return keras.Model(frames, Patches(maps)(frames), name="preprocessing")


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """VGG14 for such patches."""
    return vgg14(classes, options, strict_shape(*arrays))
