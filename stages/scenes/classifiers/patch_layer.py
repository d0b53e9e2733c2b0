"""Patches of a spectrogram, with their deltas, made on the device that runs the network."""

import numpy as np

from scenes.classifiers.patches import DELTA_WIDTH, operators, patch_shape
from scenes.learning.backend import keras


class Patches(keras.layers.Layer):
    """Patches of `excerpts`, float32 `[n, bins, width, 6]`, on the device and under every policy.

    Channels are L, R, delta L, delta R, delta-delta L, delta-delta R. Deltas are those of `librosa.feature.delta`
    (width 9, order 1 and 2, mode `interp`) over all frames of the clip.

    Parameters
    ----------
    maps : ndarray
        float32 `[f, 3 * width]`, or one for each second.
    """

    def __init__(self, maps: np.ndarray) -> None:
        super().__init__(dtype="float32")
        self.maps = self.add_weight(shape=maps.shape, initializer=keras.initializers.Constant(maps), trainable=False)

    def call(self, frames, seconds=None):
        maps = self.maps if seconds is None else keras.ops.take(self.maps, seconds, axis=0)
        return mapped(keras.ops.cast(frames, "float32"), maps)


def front(spectrograms: np.ndarray) -> keras.Model:
    """The preprocessing of `excerpts` of such spectrograms, to patches `[n, bins, width, 6]`."""
    bins, width = patch_shape(spectrograms)
    frames = keras.Input((spectrograms.shape[-3], bins, width + DELTA_WIDTH - 1), dtype=str(spectrograms.dtype))
    seconds = keras.Input((), dtype="int32")
    return keras.Model((frames, seconds), Patches(operators(width)[1])(frames, seconds), name="preprocessing")


def mapped(frames, maps):
    """Apply maps to frames, on the device: float32 `[n, channels, bins, f]` times `[f, 3 * width]` or one for each n.

    Returns
    -------
    tensor
        float32 `[n, bins, width, 3 * channels]`, all channels, then their deltas, then their delta-deltas.
    """
    (_, channels, bins, length), width = frames.shape, maps.shape[-1] // 3
    cut = keras.ops.matmul(keras.ops.reshape(frames, (-1, channels * bins, length)), maps)
    cut = keras.ops.transpose(keras.ops.reshape(cut, (-1, channels, bins, 3, width)), (0, 2, 4, 3, 1))
    return keras.ops.reshape(cut, (-1, bins, width, 3 * channels))
