"""Patches of a spectrogram with its deltas: what an audio-spectrogram network sees of one second.

Ten half-overlapping patches span a clip. The paper's are 128 frames wide with a hop of 14 ms, 704 frames a clip
(704 = 128 + 9 * 64). With another hop or sample rate a patch lasts as long and has more or fewer frames.
"""

from functools import cache

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.stage.errors import InputError

SPAN = 1.792  # seconds of a patch: 128 hops of 14 ms
DELTA_WIDTH = 9


def patch_width(sample_rate: int, hop: int) -> int:
    """How many frames a patch has: an even number, 128 with the paper's hop of 14 ms.

    Raises
    ------
    InputError
        If a second has too few frames for the deltas.
    """
    frames = sample_rate // hop + 1
    if frames < DELTA_WIDTH:
        raise InputError(
            f"hop is {hop} samples at {sample_rate} Hz, {frames} frames a second, but a delta takes {DELTA_WIDTH}; "
            f"set hop to {sample_rate // (DELTA_WIDTH - 1)} or less"
        )
    return _width(sample_rate / hop)


def frame_count(sample_rate: int, hop: int) -> int:
    """How many frames a clip's spectrogram has, those of ten half-overlapping patches: 704 with the paper's hop."""
    return (SECONDS + 1) * patch_width(sample_rate, hop) // 2


def patch_shape(spectrograms: np.ndarray) -> tuple[int, int]:
    """Bins and frames of the patches of spectrograms `[..., bins, frames]`.

    Raises
    ------
    InputError
        If so many frames are not those of ten half-overlapping patches.
    """
    *_, bins, frames = spectrograms.shape
    if frames % (SECONDS + 1):
        raise InputError(
            f"a spectrogram has {frames} frames, not a multiple of {SECONDS + 1}, ten half-overlapping patches; "
            "run its stage again"
        )
    return bins, 2 * frames // (SECONDS + 1)


def strict_shape(spectrograms: np.ndarray) -> tuple[int, int]:
    """Bins and frames of the patches of single seconds' spectrograms `[..., bins, frames]`.

    A second with f frames has between f - 1 and f hops. So the width may differ by two frames from that of the clips'
    patches; VGG14's weights do not depend on it.
    """
    *_, bins, frames = spectrograms.shape
    return bins, _width(frames - 0.5)


def _width(hops: float) -> int:
    """Frames of a patch at so many hops a second. Rounding up must not take the last patch beyond the clip's end."""
    return 2 * min(round(SPAN / 2 * hops), int(SECONDS * hops + 1) // (SECONDS + 1))


def patch_starts(width: int) -> np.ndarray:
    """First frame of each of the ten patches: 0, 64, ..., 576 where they are 128 wide."""
    return np.arange(SECONDS) * (width // 2)


def patch_needs(sample_rate: int, hop: int, support: float) -> np.ndarray:
    """Seconds of the recording from its start to the end of what each patch hears, `[10]`.

    The last frame of a patch's deltas lies four hops after the patch, and a frame hears half its `support` (samples:
    its window, or the longest wavelet) beyond its centre. With the paper's numbers the first patch of MEL and GAM needs
    1.89 s, that of CQT 3.58 s; the last may need more than the clip has.
    """
    width = patch_width(sample_rate, hop)
    return ((patch_starts(width) + width + DELTA_WIDTH // 2) * hop + support / 2) / sample_rate


def delta_maps(frames: int) -> list[np.ndarray]:
    """Linear maps from frames to themselves, to their deltas and to their delta-deltas, `[frames, frames]` each.

    Deltas are Savitzky-Golay derivatives, so each is one matrix over all frames.
    """
    from scipy.signal import savgol_filter  # takes a second to import, which MLPs and image networks do without

    identity = np.eye(frames)
    deltas = [savgol_filter(identity, DELTA_WIDTH, polyorder=n, deriv=n, axis=1, mode="interp") for n in (1, 2)]
    return [identity, *deltas]


@cache
def operators(width: int) -> tuple[np.ndarray, np.ndarray]:
    """First frame of what each patch of so many frames needs for its deltas, `[10]`, and the linear maps from there.

    The maps give the patch, its deltas and its delta-deltas, `[10, width + 8, 3 * width]`. The first patch begins, and
    the last one ends, at the edge of the spectrogram.
    """
    context, starts = width + DELTA_WIDTH - 1, patch_starts(width)
    first = np.clip(starts - DELTA_WIDTH // 2, 0, starts[-1] + width - context)
    maps = delta_maps(context)
    rows = [np.concatenate([full[:, at : at + width] for full in maps], axis=-1) for at in starts - first]
    return first, np.array(rows, np.float32)


def excerpts(spectrograms: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What one patch for each pair of a clip and a second is made of.

    Parameters
    ----------
    spectrograms : ndarray
        `[clips, 2, bins, frames]`, may be memory-mapped; a patch has as many frames as `patch_shape` says.
    clips, seconds : ndarray of int
        `[n]` each; seconds count from 0 to 9.

    Returns
    -------
    ndarray, ndarray
        Frames as they are stored, those of the patch and four more on either side, `[n, 2, bins, width + 8]`; and the
        seconds, int32 `[n]`.
    """
    width = patch_shape(spectrograms)[1]
    first = operators(width)[0]
    context = np.lib.stride_tricks.sliding_window_view(spectrograms, width + DELTA_WIDTH - 1, axis=-1)
    return context[clips, :, :, first[seconds]], seconds.astype(np.int32)
