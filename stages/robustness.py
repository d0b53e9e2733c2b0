"""Disturb the evaluate clips' sound, for a spectrogram of it, or their frames, as of a bad microphone or camera."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes import disturbance, spectrogram
from scenes.audio import read_audio
from scenes.shards import map_clips
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import SECONDS, Rows, open_rows, place, read_split
from scenes.stage.errors import MediaWarning

Noise = Annotated[Literal["pink", "babble"], typer.Option(help="pink noise, or the sound of four other clips")]
SNR = Annotated[float, typer.Option(help="signal-to-noise ratio over the whole clip, dB", min=-60.0, max=120.0)]


def mel(
    split: Path,
    out: Path,
    noise: Noise,
    snr: SNR,
    seed: options.Seed = 0,
    sample_rate: options.SampleRate = 48_000,
    n_fft: options.FFT = 8192,
    window: options.Window = 3840,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    fmin: options.Lowest = 10.0,
    fmax: options.Highest = 24_000.0,
    log_offset: options.Offset = 1e-10,
) -> None:
    """MEL of the sound with noise in it."""
    transform = partial(
        spectrogram.mel, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin, fmax=fmax,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(split, out, transform, noise, snr, seed, sample_rate)


def gam(
    split: Path,
    out: Path,
    noise: Noise,
    snr: SNR,
    seed: options.Seed = 0,
    sample_rate: options.SampleRate = 48_000,
    n_fft: options.FFT = 8192,
    window: options.Window = 3840,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    fmin: options.Lowest = 10.0,
    log_offset: options.Offset = 1e-10,
) -> None:
    """GAM of the sound with noise in it."""
    transform = partial(
        spectrogram.gam, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(split, out, transform, noise, snr, seed, sample_rate)


def cqt(
    split: Path,
    out: Path,
    noise: Noise,
    snr: SNR,
    seed: options.Seed = 0,
    sample_rate: options.SampleRate = 48_000,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    bins_per_octave: options.BinsPerOctave = 24,
    fmin: options.Lowest = 10.0,
    log_offset: options.Offset = 1e-10,
) -> None:
    """CQT of the sound with noise in it."""
    transform = partial(
        spectrogram.cqt, sample_rate=sample_rate, hop=hop, bins=bins, bins_per_octave=bins_per_octave, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(split, out, transform, noise, snr, seed, sample_rate)


def frames(
    split: Path,
    stored: Annotated[Path, typer.Argument(help="the frames of all clips")],
    out: Path,
    blur: Annotated[
        float, typer.Option(help="sigma of a Gaussian, as a part of the picture's height", min=0.0, max=0.5)
    ] = 0.0,
    light: Annotated[float, typer.Option(help="part of the light that is left", min=0.0, max=1.0)] = 1.0,
    cover: Annotated[float, typer.Option(help="part of the picture behind a grey square", min=0.0, max=1.0)] = 0.0,
    seed: options.Seed = 0,
) -> None:
    """Frames blurred, darkened or blocked."""
    clips = read_split(split)
    pictures = open_rows(stored, clips)
    evaluated = clips.loc[clips["fold"] == "evaluate", "video"]
    rows = {path: row for row, path in evaluated.items() if path}
    read = partial(_disturbed, pictures=pictures, rows=rows, blur=blur, light=light, cover=cover, seed=seed)
    map_clips(read, list(evaluated), pictures.shape[1:], "uint8", out, inputs=[stored])


def _extract(split: Path, out: Path, transform: Callable, noise: Noise, snr: SNR, seed: int, sample_rate: int) -> None:
    clips = read_split(split)
    evaluated = clips[clips["fold"] == "evaluate"]
    places = dict(zip(evaluated["audio"], place(evaluated), strict=True))
    places.pop("", None)
    shape = transform(np.zeros((2, SECONDS * sample_rate), np.float32)).shape  # a bad parameter fails here, once
    read = partial(_noisy, transform=transform, noise=noise, snr=snr, seed=seed, sample_rate=sample_rate, places=places)
    map_clips(read, list(evaluated["audio"]), shape, "float16", out, inputs=[Path(path) for path in places])


def _noisy(
    path: str, transform: Callable, noise: Noise, snr: float, seed: int, sample_rate: int, places: dict[str, str]
) -> np.ndarray:
    sound, generator = read_audio(path, sample_rate), disturbance.clip_generator(seed, path)
    if noise == "pink":
        added = disturbance.pink_noise(*sound.shape, generator)
    else:
        with warnings.catch_warnings(action="ignore", category=MediaWarning):  # the other clip's, not this one's
            added = sum(read_audio(other, sample_rate) for other in disturbance.voices(path, places, generator))
    return transform(disturbance.add_noise(sound, added, snr))


def _disturbed(
    path: str, pictures: Rows, rows: dict[str, int], blur: float, light: float, cover: float, seed: int
) -> np.ndarray:
    dark = disturbance.darken(disturbance.blur(pictures[rows[path]], blur), light)
    return disturbance.block(dark, cover, disturbance.clip_generator(seed, path))


if __name__ == "__main__":
    run(mel, gam, cqt, frames)
