"""DCASE's one-second protocol for the audio-spectrogram networks: a second is heard without its neighbours.

A patch of a ten-second spectrogram spans 1.858 s, and a CQT filter up to 3.41 s. Here each second has a spectrogram of
its own, made of its own samples with zeros around them: 72 frames, which are repeated to fill the network's 128.
"""

from functools import cache

import numpy as np

from scenes.classifiers.patches import WIDTH, delta_maps, mapped


@cache
def _operator(frames: int) -> np.ndarray:
    """Linear map from a second's frames to a patch, its deltas and delta-deltas, float32 `[frames, 384]`."""
    wrapped = np.arange(WIDTH) % frames
    return np.concatenate([full[:, wrapped] for full in delta_maps(frames)], axis=-1).astype(np.float32)


def strict_patches(spectrograms: np.ndarray, rows: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Make one patch of each pair of a clip and a second: deltas first, then wrapped to 128 frames.

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
        float32 `[n, bins, 128, 6]`, channels as those of `scenes.classifiers.patches.patches`.
    """
    return mapped(spectrograms[rows[clips], seconds].astype(np.float32), _operator(spectrograms.shape[-1]))
