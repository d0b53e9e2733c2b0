"""Transform each clip's sound into a spectrogram: MEL, GAM (gammatone) or CQT, in the paper 128 bins by 704 frames."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.classifiers.patches import frame_count, patch_needs
from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, place, read_media, read_split
from scenes.evaluation.needs import COLUMNS
from scenes.features import spectrogram
from scenes.media import disturbance
from scenes.media.clip import read_audio
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError, MediaWarning
from scenes.stage.outputs import write_csv

Strict = Annotated[
    bool, typer.Option(help="each second alone, of the clips not in train (media is split.csv): DCASE's protocol")
]
Noise = Annotated[
    list[str],
    typer.Option(help="pink:SNR or babble:SNR, dB: the evaluate clips (media is split.csv) with each of these in turn"),
]
# Only the stage of noise gives a seed: given without noise, the list in params.yaml is empty.
NoiseSeed = Annotated[int | None, typer.Option(help="seed of the noise", min=0, max=2**32 - 1)]
Needs = Annotated[
    Path | None, typer.Option(help="output .csv: seconds of the recording that each of the ten patches needs")
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
    noise: Noise = (),
    seed: NoiseSeed = None,
    needs: Needs = None,
) -> None:
    """Magnitudes of the STFT through Slaney's mel filters."""
    transform = partial(
        spectrogram.mel, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin, fmax=fmax,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict, noise, seed, needs)


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
    noise: Noise = (),
    seed: NoiseSeed = None,
    needs: Needs = None,
) -> None:
    """Magnitudes of the STFT through Ellis' gammatone weights."""
    transform = partial(
        spectrogram.gam, sample_rate=sample_rate, n_fft=n_fft, window=window, hop=hop, bins=bins, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict, noise, seed, needs)


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
    noise: Noise = (),
    seed: NoiseSeed = None,
    needs: Needs = None,
) -> None:
    """Magnitudes of the constant-Q transform."""
    transform = partial(
        spectrogram.cqt, sample_rate=sample_rate, hop=hop, bins=bins, bins_per_octave=bins_per_octave, fmin=fmin,
        log_offset=log_offset,
    )  # fmt: skip
    _extract(media, out, transform, sample_rate, strict, noise, seed, needs)


def _extract(
    media: Path,
    out: Path,
    transform: partial,
    sample_rate: int,
    strict: bool,
    noise: list[str],
    seed: int | None,
    needs: Path | None,
) -> None:
    if strict and noise:
        raise InputError("--strict and --noise: one at a time, they are of different clips")
    if seed is not None and not noise:
        raise InputError("--noise is missing: list a condition, such as pink:20, in robustness.sound.noise")
    hop = transform.keywords["hop"]
    transform = partial(transform, frames=frame_count(sample_rate, hop))
    shape = transform(np.zeros((2, SECONDS * sample_rate), np.float32)).shape  # a bad parameter fails here, once
    read = partial(read_audio, sample_rate=sample_rate)
    if strict:
        split = read_split(media)
        clips = list(split.loc[split["fold"] != "train", "audio"])
        frames = sample_rate // hop + 1
        row, shape = partial(_seconds, read, partial(transform, frames=frames)), (SECONDS, *shape[:-1], frames)
    elif noise:
        split = read_split(media)
        evaluated = split[split["fold"] == "evaluate"]
        clips, levels = list(evaluated["audio"]), disturbance.parse(noise, disturbance.NOISE)
        places = {path: name for path, name in zip(clips, place(evaluated), strict=True) if path}
        row, shape = partial(_noisy, read, transform, levels, places, seed or 0), (len(levels), *shape)
    else:
        clips, row = read_media(media, "audio"), partial(_clip, read, transform)
    map_clips(row, clips, shape, "float16", out, inputs=[media, *(Path(path) for path in clips if path)])
    if needs:
        support = spectrogram.support(transform.func.__name__, transform.keywords)
        write_csv(needs, pd.DataFrame(enumerate(patch_needs(sample_rate, hop, support), 1), columns=COLUMNS))


def _clip(read: Callable, transform: Callable, path: str) -> np.ndarray:
    return transform(read(path))


def _seconds(read: Callable, transform: Callable, path: str) -> np.ndarray:
    """A spectrogram a second, `[10, 2, bins, frames]`."""
    return np.stack([transform(second) for second in np.split(read(path), SECONDS, axis=1)])


def _noisy(
    read: Callable, transform: Callable, levels: list[tuple[str, float]], places: dict[str, str], seed: int, path: str
) -> np.ndarray:
    """A spectrogram a condition, `[conditions, 2, bins, frames]`."""
    sound, added = read(path), {}
    for kind in {kind for kind, _ in levels}:
        generator = disturbance.clip_generator(seed, path)
        if kind == "pink":
            added[kind] = disturbance.pink_noise(*sound.shape, generator)
        else:
            with warnings.catch_warnings(action="ignore", category=MediaWarning):  # the other clips', not this one's
                added[kind] = sum(map(read, disturbance.voices(path, places, generator)))
    return np.stack([transform(disturbance.add_noise(sound, added[kind], snr)) for kind, snr in levels])


if __name__ == "__main__":
    run(mel, gam, cqt)
