"""Patches of a spectrogram with its deltas: what an audio-spectrogram network sees of one second."""

from functools import cache

import numpy as np

FRAMES = 704
WIDTH = 128
STARTS = np.arange(0, FRAMES - WIDTH + 1, WIDTH // 2)
DELTA_WIDTH = 9
# A patch needs the frames beside it for its deltas; the first and the last patch lean on the spectrogram's edge.
_CONTEXT = WIDTH + DELTA_WIDTH - 1
_CONTEXT_STARTS = np.clip(STARTS - DELTA_WIDTH // 2, 0, FRAMES - _CONTEXT)


def delta_maps(frames: int) -> list[np.ndarray]:
    """Linear maps from frames to themselves, to their deltas and to their delta-deltas, `[frames, frames]` each.

    Deltas are Savitzky-Golay derivatives, so each is one matrix over all frames.
    """
    from scipy.signal import savgol_filter  # takes a second to import, which MLPs and image networks do without

    identity = np.eye(frames)
    deltas = [savgol_filter(identity, DELTA_WIDTH, polyorder=n, deriv=n, axis=1, mode="interp") for n in (1, 2)]
    return [identity, *deltas]


def mapped(frames: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Apply maps to frames: float32 `[n, channels, bins, f]` times `[f, 3 * 128]` or `[n, f, 3 * 128]`.

    Returns
    -------
    ndarray
        float32 `[n, bins, 128, 3 * channels]`, all channels, then their deltas, then their delta-deltas.
    """
    count, channels, bins, length = frames.shape
    cut = np.matmul(frames.reshape(count, -1, length), maps).reshape(count, channels, bins, 3, WIDTH)
    return np.ascontiguousarray(cut.transpose(0, 2, 4, 3, 1)).reshape(count, bins, WIDTH, 3 * channels)


@cache
def _operators() -> np.ndarray:
    """Linear maps from the frames around each patch to the patch, its deltas and its delta-deltas, `[10, 136, 384]`."""
    blocks = [
        [full[context : context + _CONTEXT, start : start + WIDTH] for full in delta_maps(FRAMES)]
        for context, start in zip(_CONTEXT_STARTS, STARTS, strict=True)
    ]
    return np.concatenate(np.moveaxis(np.array(blocks, np.float32), 1, 0), axis=-1)


def patches(spectrograms: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Cut one patch for each pair of a clip and a second.

    The ten half-overlapping patches of a clip start at frames 0, 64, ..., 576 (704 = 128 + 9 * 64). Deltas are those
    of `librosa.feature.delta` (width 9, order 1 and 2, mode `interp`) over all 704 frames.

    Parameters
    ----------
    spectrograms : ndarray
        `[clips, 2, bins, 704]`, may be memory-mapped.
    clips, seconds : ndarray of int
        `[n]` each; seconds count from 0 to 9.

    Returns
    -------
    ndarray
        float32 `[n, bins, 128, 6]`, channels L, R, delta L, delta R, delta-delta L, delta-delta R.
    """
    context = np.lib.stride_tricks.sliding_window_view(spectrograms, _CONTEXT, axis=-1)
    around = context[clips, :, :, _CONTEXT_STARTS[seconds]].astype(np.float32)
    return mapped(around, _operators()[seconds])
