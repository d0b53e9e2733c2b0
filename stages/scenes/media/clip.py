"""A clip of the data set: ten seconds of stereo at one rate, and the ten frames in the middle of its seconds."""

import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import soxr

from scenes.dataset.tables import SECONDS
from scenes.media.container import open_media
from scenes.media.pictures import Painter
from scenes.media.sound import stereo
from scenes.stage.errors import MediaWarning

# TAU clips have 479,999 to 480,001 samples: a hundredth of a second is not worth a warning.
TOLERANCE = 0.01
# Seconds that are read of longer audio: what a resampler looks ahead, and more.
ENOUGH = SECONDS + 2
MOMENTS = [Fraction(2 * second + 1, 2) for second in range(SECONDS)]


def read_audio(path: Path | str, sample_rate: int) -> np.ndarray:
    """Read a clip's sound.

    Mono is duplicated, further channels are mixed down, another rate is resampled (soxr), a shorter clip is padded by
    repeating it, each with a `MediaWarning`; a longer clip is cut. Digital silence is allowed.

    Parameters
    ----------
    path : Path or str
        A file with audio, by itself or in a video.
    sample_rate : int
        Samples per second wanted.

    Returns
    -------
    ndarray
        float32 `[2, 10 * sample_rate]`, channels left and right.

    Raises
    ------
    InputError
        If the file is missing, empty, unreadable, without sound, or holds samples that are not finite,
        or its sample rate is none.
    """
    with open_media(path, needs="audio") as media:
        blocks = list(media.blocks(pictures=False, until=ENOUGH))
        _warn(*media.warnings)
        channels = media.channels
    sound, rate = stereo(np.concatenate([block.samples for block in blocks], axis=1)), blocks[0].rate
    if channels == 1:
        _warn("mono audio, duplicated to two channels")
    elif channels > 2:
        _warn("more than two audio channels, mixed down to two")
    if rate != sample_rate:
        _warn(f"audio at {rate} Hz, resampled to {sample_rate} Hz")
        sound = soxr.resample(sound.T, rate, sample_rate).T
    if sound.shape[1] < (SECONDS - TOLERANCE) * sample_rate:
        _warn(f"audio shorter than {SECONDS} s, repeated to fill {SECONDS} s")
    return ten_seconds(sound, sample_rate)


def ten_seconds(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Ten seconds, float32 `[2, 10 * sample_rate]`, of sound `[2, samples]`: repeated to fill them, or cut."""
    samples = np.arange(SECONDS * sample_rate) % sound.shape[1]  # np.take's own wrapping is slow for a short sound
    return np.ascontiguousarray(sound[:, samples], dtype=np.float32)


def has_sound(path: Path | str) -> bool:
    """Whether a file has audio that can be decoded.

    Raises
    ------
    InputError
        If FFmpeg cannot read the file.
    """
    with open_media(path) as media:
        return media.has_sound


def read_frames(path: Path | str, size: int) -> np.ndarray:
    """Read the frames on screen at 0.5, 1.5, ..., 9.5 s, the whole picture scaled to a square (bilinear, antialiased).

    A clip that ends before a frame's time is repeated from its start, one that begins after it begins with its first
    frame, each with a `MediaWarning`. Display matrices (of phone videos) are obeyed.

    Parameters
    ----------
    path : Path or str
        A video file that FFmpeg reads.
    size : int
        Height and width of the frames in pixels.

    Returns
    -------
    ndarray
        uint8 `[10, size, size, 3]`, RGB.

    Raises
    ------
    InputError
        If the file is missing, empty, unreadable or without video.
    """
    painter = Painter()
    with open_media(path, needs="video") as media:
        media.pictures.thread_count = 1  # workers share the cores by clips: with less waiting than by frames
        shown = {number: painter.square(frame, size) for number, frame in media.frames(MOMENTS[-1], lambda _: MOMENTS)}
        _warn(*media.warnings)
    first, last = min(shown), max(shown)
    if first > 0:
        _warn(f"no frame in the first {first} s, filled with the first frame")
    if last < SECONDS - 1:
        _warn(f"video shorter than {SECONDS} s, repeated to fill {SECONDS} s")
    return np.stack([shown[max(second % (last + 1), first)] for second in range(SECONDS)])


def _warn(*lines: str) -> None:
    for line in lines:
        warnings.warn(line, MediaWarning, stacklevel=3)
