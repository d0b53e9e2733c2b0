"""Sound of a clip: any file that libsndfile or FFmpeg reads, as ten seconds of stereo at one rate."""

import os
import struct
import warnings
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from scenes.stage.dataset import SECONDS
from scenes.stage.errors import InputError, MediaWarning

SOUND_FILES = {".wav", ".flac"}
# TAU clips have 479,999 to 480,001 samples: a hundredth of a second is not worth a warning.
TOLERANCE = 0.01
# Samples a second of any sound there is. A damaged header may say a billion, or one: resampling takes the memory.
RATES = range(2_000, 768_001)


def read_audio(path: Path | str, sample_rate: int) -> np.ndarray:
    """Read a clip's sound.

    Mono is duplicated, further channels are dropped, another rate is resampled (soxr), a shorter clip is padded by
    repeating it, each with a `MediaWarning`; a longer clip is cut. Digital silence is allowed.

    Parameters
    ----------
    path : Path or str
        A sound file, or a video file with sound.
    sample_rate : int
        Samples per second wanted.

    Returns
    -------
    ndarray
        float32 `[2, 10 * sample_rate]`, channels left and right.

    Raises
    ------
    InputError
        If the file is empty, truncated, unreadable, without sound, or holds samples that are not finite,
        or its sample rate is none.
    """
    sound, rate = read_sound(path)
    if len(sound) == 1:
        warnings.warn("mono sound, duplicated to two channels", MediaWarning, stacklevel=2)
    elif len(sound) > 2:
        warnings.warn("more than two channels of sound, the first two taken", MediaWarning, stacklevel=2)
    sound = stereo(sound)
    if rate != sample_rate:
        warnings.warn(f"sound at {rate} Hz, resampled to {sample_rate} Hz", MediaWarning, stacklevel=2)
        sound = soxr.resample(sound.T, rate, sample_rate).T
    if sound.shape[1] < (SECONDS - TOLERANCE) * sample_rate:
        warnings.warn(f"sound shorter than {SECONDS} s, repeated to fill them", MediaWarning, stacklevel=2)
    return ten_seconds(sound, sample_rate)


def stereo(sound: np.ndarray) -> np.ndarray:
    """Two channels `[2, samples]` of any number: mono twice, the first two of more."""
    return sound[[0, min(1, len(sound) - 1)]]


def ten_seconds(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Ten seconds, float32 `[2, 10 * sample_rate]`, of sound `[2, samples]`: repeated to fill them, or cut."""
    samples = np.arange(SECONDS * sample_rate) % sound.shape[1]  # np.take's own wrapping is slow for a short sound
    return np.ascontiguousarray(sound[:, samples], dtype=np.float32)


def read_sound(path: Path | str) -> tuple[np.ndarray, int]:
    """Read a file's sound as it is.

    Parameters
    ----------
    path : Path or str
        A wav or flac file, or a video file with sound.

    Returns
    -------
    ndarray, int
        Samples `[channels, samples]`, and how many a second.

    Raises
    ------
    InputError
        As for `read_audio`.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: empty file; restore it, or take its clip out of the setup file")
    sound, rate = _read_file(path) if path.suffix.lower() in SOUND_FILES else _decode(path)
    if sound.shape[1] == 0:
        raise InputError(f"{path}: holds no sound; restore it, or take its clip out of the setup file")
    if rate not in RATES:
        raise InputError(f"{path}: {rate} samples a second, not from {RATES[0]} to {RATES[-1]}; export it again")
    if not np.isfinite(sound).all():
        raise InputError(f"{path}: holds samples that are not finite numbers; export it again")
    return sound, rate


def has_sound(path: Path | str) -> bool:
    """Whether a video file has an audio stream.

    Raises
    ------
    InputError
        If FFmpeg cannot read the file.
    """
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except av.FFmpegError as error:
        raise InputError(f"{path}: empty, truncated or not a video ({error.strerror}); restore it") from error


def _read_file(path: Path) -> tuple[np.ndarray, int]:
    try:
        sound, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        if not path.is_file():
            raise FileNotFoundError(2, "no such file", str(path)) from error
        raise InputError(f"{path}: not a readable sound file ({error.error_string}); restore it") from error
    # libsndfile reads a file that was cut off as if it were whole and only shorter; the RIFF header knows better.
    with path.open("rb") as file:
        tag, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    if tag == b"RIFF" and path.stat().st_size < size + 8 < 2**32 - 1:
        raise InputError(f"{path}: truncated, {path.stat().st_size:,} of {size + 8:,} bytes; restore it")
    return sound.T, rate


def _decode(path: Path) -> tuple[np.ndarray, int]:
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f"{path}: has no sound; give its clip a wav, or take it out of the setup file")
            stream = container.streams.audio[0]
            planar = av.AudioResampler(format="fltp")
            blocks = [block.to_ndarray() for frame in container.decode(stream) for block in planar.resample(frame)]
            promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
    except av.FFmpegError as error:
        raise InputError(f"{path}: empty, truncated or not a video ({error.strerror}); restore it") from error
    sound = np.concatenate(blocks, axis=1) if blocks else np.zeros((1, 0), np.float32)
    if sound.shape[1] < 0.95 * promised * stream.rate:
        raise InputError(
            f"{path}: truncated, {sound.shape[1] / stream.rate:.1f} of {promised:.1f} s of sound; restore it"
        )
    return sound, stream.rate
