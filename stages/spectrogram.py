"""Transform each clip's sound into a spectrogram: MEL, GAM (gammatone) or CQT, 128 bins by 704 frames a channel."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes import spectrogram
from scenes.audio import read_audio
from scenes.shards import map_clips
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import SECONDS, read_media, read_split

Strict = Annotated[
    bool, typer.Option(help="each second alone, of the clips not in train (media is split.csv): DCASE's protocol")
]


def mel(
    media: Path,
    out: Path,
    sample_rate: options.SampleRate = 48_000,
    n_fft: options.FFT = 8192,
    window: options.Window = 3840,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    fmin: options.Lowest = 10.0,
    fmax: options.Highest = 24_000.0,
    log_offset: options.Offset = 1e-10,
    strict: Strict = False,
) -> None:
    """Magnitudes of the STFT through Slaney's mel filters."""
    transform = partial(
        spectrogram.mel, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin, fmax=fmax,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict)


def gam(
    media: Path,
    out: Path,
    sample_rate: options.SampleRate = 48_000,
    n_fft: options.FFT = 8192,
    window: options.Window = 3840,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    fmin: options.Lowest = 10.0,
    log_offset: options.Offset = 1e-10,
    strict: Strict = False,
) -> None:
    """Magnitudes of the STFT through Ellis' gammatone weights."""
    transform = partial(
        spectrogram.gam, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict)


def cqt(
    media: Path,
    out: Path,
    sample_rate: options.SampleRate = 48_000,
    hop: options.Hop = 672,
    bins: options.Bins = 128,
    bins_per_octave: options.BinsPerOctave = 24,
    fmin: options.Lowest = 10.0,
    log_offset: options.Offset = 1e-10,
    strict: Strict = False,
) -> None:
    """Magnitudes of the constant-Q transform."""
    transform = partial(
        spectrogram.cqt, sample_rate=sample_rate, hop=hop, bins=bins, bins_per_octave=bins_per_octave, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict)


def _extract(media: Path, out: Path, transform: Callable, sample_rate: options.SampleRate, strict: bool) -> None:
    if strict:
        split = read_split(media)
        clips = list(split.loc[split["fold"] != "train", "audio"])
        frames = sample_rate // transform.keywords["hop"] + 1
        transform = partial(_each_second, transform=partial(transform, frames=frames))
    else:
        clips = read_media(media, "audio")
    shape = transform(np.zeros((2, SECONDS * sample_rate), np.float32)).shape  # a bad parameter fails here, once
    read = partial(_clip, transform=transform, sample_rate=sample_rate)
    map_clips(read, clips, shape, "float16", out, inputs=[Path(path) for path in clips if path])


def _clip(path: str, transform: Callable, sample_rate: options.SampleRate) -> np.ndarray:
    return transform(read_audio(path, sample_rate))


def _each_second(audio: np.ndarray, transform: Callable) -> np.ndarray:
    """A spectrogram a second, `[10, 2, bins, frames]`."""
    return np.stack([transform(second) for second in np.split(audio, SECONDS, axis=1)])


if __name__ == "__main__":
    run(mel, gam, cqt)
