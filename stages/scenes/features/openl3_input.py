"""What OpenL3's networks look at: one-second windows of sound and frames of the video, as the DCASE 2021 baseline does.

The sound goes through the front end of OpenL3 0.3.1, for which the baseline's figures were published (that of 0.4 gives
other embeddings).
"""

import warnings
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import scipy.fft

from scenes.dataset.tables import SECONDS
from scenes.media.clip import read_audio
from scenes.media.container import open_media
from scenes.media.pictures import Painter
from scenes.stage.errors import MediaWarning

RATE = WINDOW = 48_000
FFT, HOP, MELS = 2048, 242, 256
SHORTER_SIDE, SIDE = 256, 224


def window_starts(samples: int, hop: float) -> np.ndarray:
    """First sample of each one-second window, int `[T]`: centres at 0, `hop`, ... s until every sample is in one.

    Ten seconds have 96 windows at the baseline's hop of 0.1 s.
    """
    step = int(hop * RATE)
    beyond_the_first = max(0, samples - WINDOW // 2)
    return np.arange(1 + -(-beyond_the_first // step)) * step - WINDOW // 2


def frame_indices(frames: int, windows: int) -> np.ndarray:
    """The frames that go with so many windows of sound, evenly spread from the first to the last, int `[windows]`."""
    return np.linspace(0, frames - 1, windows).astype(int)


def read_spectrograms(path: str | Path, hop: float) -> np.ndarray:
    """Read a clip's sound and transform its windows, float32 `[T, 256, 199, 1]`; errors as `read_audio`."""
    sound = read_audio(path, RATE).mean(axis=0)
    starts = window_starts(len(sound), hop)
    padded = np.pad(sound, (WINDOW // 2, max(0, starts[-1] + WINDOW - len(sound))))
    return spectrograms(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[starts + WINDOW // 2])


def spectrograms(windows: np.ndarray) -> np.ndarray:
    """The front end of OpenL3 0.3.1: mel spectrograms in decibels below their maximum, not under -80.

    The decibels are those of a power, `10 log10`, but taken of the root of the mel power.

    Parameters
    ----------
    windows : ndarray
        float32 `[T, 48000]`.

    Returns
    -------
    ndarray
        float32 `[T, 256, 199, 1]`, frequencies from low to high.
    """
    return np.stack([_spectrogram(window) for window in windows])[..., None]


def _spectrogram(window: np.ndarray) -> np.ndarray:
    taper, mel = _filters()
    frames = 1 + (WINDOW - 1) // HOP
    padded = np.pad(window, ((frames - 1) * HOP + FFT - WINDOW) // 2)
    slices = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    # In float64: the scale reaches down to 1e-8 of the maximum, where the rounding errors of float32 would be heard.
    power = np.square(np.abs(scipy.fft.rfft(slices * taper)))
    decibels = 10 * np.log10(np.maximum(np.sqrt(mel @ power.T), 1e-10))
    return np.maximum(decibels - decibels.max(), -80).astype(np.float32)


@cache
def _filters() -> tuple[np.ndarray, np.ndarray]:
    """Hann window `[2048]` and mel filters `[256, 1025]`, float64."""
    import librosa  # takes seconds, and pictures do without

    taper = librosa.filters.get_window("hann", FFT)
    with warnings.catch_warnings(
        action="ignore"
    ):  # the lowest filters lie between two bins and are empty, as published
        mel = librosa.filters.mel(sr=RATE, n_fft=FFT, n_mels=MELS, fmin=0, fmax=RATE / 2, htk=True)
    return taper, mel.astype(np.float64)


def read_pictures(path: str | Path, windows: int) -> np.ndarray:
    """Read the frames that go with so many windows of sound, float32 `[windows, 224, 224, 3]`, RGB from 0 to 1.

    Of a clip that is shorter or longer than ten seconds too, they are spread over the frames of its first ten; a
    shorter one gives a `MediaWarning`.

    Raises
    ------
    InputError
        If the file is missing, empty, unreadable or without video.
    """
    painter, pictures, ends = Painter(), {}, [Fraction(0)]

    def moments(starts: list[Fraction]) -> list[Fraction]:
        starts = [start for start in starts if 0 <= start < SECONDS]
        ends.extend(starts[-1:])
        return [starts[index] for index in frame_indices(len(starts), windows)] if starts else [Fraction(0)] * windows

    with open_media(path, needs="video") as media:
        for number, frame in media.frames(Fraction(SECONDS), moments):
            pictures[number] = picture(painter.paint(frame))
        for line in media.warnings:
            warnings.warn(line, MediaWarning, stacklevel=2)
    if ends[-1] < SECONDS - 1:
        warnings.warn(f"pictures shorter than {SECONDS} s, spread over them", MediaWarning, stacklevel=2)
    return np.stack([pictures[min(number, max(pictures))] for number in range(windows)])


def picture(frame: np.ndarray) -> np.ndarray:
    """Scale the shorter side to 256 pixels (bilinear, no antialiasing) and cut the central 224 x 224 out.

    Parameters
    ----------
    frame : ndarray
        uint8 `[height, width, 3]`.

    Returns
    -------
    ndarray
        float32 `[224, 224, 3]`, from 0 to 1.
    """
    scale = SHORTER_SIDE / min(frame.shape[:2])
    (top, down), (left, right) = (_central_pixels(length, round(length * scale)) for length in frame.shape[:2])
    rows = frame[top] * (1 - down[:, None, None]) + frame[top + 1] * down[:, None, None]
    return (rows[:, left] * (1 - right[:, None]) + rows[:, left + 1] * right[:, None]) / 255


def _central_pixels(length: int, scaled: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the central pixels of a scaled axis lie: after which pixel, int `[224]`, and how far, float32 `[224]`."""
    at = (np.arange(SIDE) + scaled // 2 - SIDE // 2 + 0.5) * length / scaled - 0.5
    before = np.floor(at).astype(int)
    return before, (at - before).astype(np.float32)
