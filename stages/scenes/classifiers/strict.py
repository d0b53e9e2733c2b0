"""DCASE's one-second protocol for the audio-spectrogram networks: a second is heard without its neighbours.

A patch of a ten-second spectrogram spans 1.858 s, and a CQT filter up to 3.41 s. Here each second has a spectrogram of
its own, made of its own samples with zeros around them: 72 frames, which are repeated to fill a patch of 128.
"""

from functools import cache

import numpy as np

from scenes.classifiers.patches import delta_maps, mapped, strict_shape


@cache
def _operator(frames: int, width: int) -> np.ndarray:
    """Linear map from a second's frames to a patch, its deltas and delta-deltas, float32 `[frames, 3 * width]`."""
    wrapped = np.arange(width) % frames
    return np.concatenate([full[:, wrapped] for full in delta_maps(frames)], axis=-1).astype(np.float32)


def strict_patches(spectrograms: np.ndarray, rows: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Make one patch of each pair of a clip and a second: deltas first, then wrapped to a patch's width.

    Parameters
    ----------
    spectrograms : ndarray
        `[rows, 10, 2, bins, frames]`, a spectrogram a second, may be memory-mapped.
    rows : ndarray of int
        `[clips]`, the row of each clip of the split: train clips have none.
    clips, seconds : ndarray of int
        `[n]` each; seconds count from 0 to 9.

    Returns
    -------
    ndarray
        float32 `[n, bins, width, 6]`, width as by `strict_shape`, channels as those of
        `scenes.classifiers.patches.patches`.
    """
    operator = _operator(spectrograms.shape[-1], strict_shape(spectrograms)[1])
    return mapped(spectrograms[rows[clips], seconds].astype(np.float32), operator)
