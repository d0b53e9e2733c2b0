"""Embed frames, sound or both with a frozen foundation model: CLIP, SigLIP 2, DINOv2; CLAP, AST; PE-AV."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, Rows, read_media
from scenes.features.foundation import (
    decibels,
    embed_both,
    embed_frames,
    embed_sounds,
    files_of,
    folder_of,
    load,
    read_sound,
)
from scenes.stage import options
from scenes.stage.cli import run


@dataclass(frozen=True)
class Options:
    """Which model, and what to take of it."""

    model: options.HubModel
    revision: options.Revision = "main"
    weights: options.ModelFolder = "none"
    pretrained: Annotated[bool, typer.Option(help="whether these weights are trained, which the report says")] = True
    layer: Annotated[Literal["pooled", "projected"], typer.Option(help="of the network, or in the space of text")] = (
        "pooled"
    )
    precision: options.Precision = "float32"


def visual(media: Path, frames: Path, out: Path, chosen: Options) -> None:
    """Embed one frame a second."""
    rows = [row if video else None for row, video in enumerate(read_media(media, "video"))]
    model, files = _model(chosen, "video")
    embed = partial(_embed_frames, model=model)
    map_clips(
        Rows(frames).__getitem__, rows, (SECONDS, model().dimension), "float32", out, [media, frames, *files], embed
    )


def audio(
    media: Path,
    out: Path,
    chosen: Options,
    unit: options.Unit = "second",
    level: options.Level = "none",
) -> None:
    """Embed sound."""
    clips = read_media(media, "audio")
    model, files = _model(chosen, "audio")
    embed = partial(_embed_sounds, model=model, unit=unit, level=decibels(level))
    inputs = [media, *(Path(path) for path in clips if path), *files]
    map_clips(read_sound, clips, (SECONDS, model().dimension), "float32", out, inputs, embed)


def audio_visual(
    media: Path, frames: Path, out: Path, chosen: Options, unit: options.Unit = "second", level: options.Level = "none"
) -> None:
    """Embed sound together with its frames, one a second."""
    sounds, videos = read_media(media, "audio"), read_media(media, "video")
    clips = [(sound, row) if sound and videos[row] else None for row, sound in enumerate(sounds)]
    model, files = _model(chosen, "audio", "video")
    embed = partial(_embed_both, model=model, unit=unit, level=decibels(level))
    inputs = [media, frames, *(Path(path) for path in sounds if path), *files]
    read = partial(_both, frames=Rows(frames))
    map_clips(read, clips, (SECONDS, model().dimension), "float32", out, inputs, embed)


def _model(chosen: Options, *media: str) -> tuple[partial, list[Path]]:
    """What makes the model, once a process, and its files."""
    folder = folder_of(chosen.model, chosen.revision, chosen.weights)
    return load(folder, chosen.layer, chosen.precision, *media), files_of(folder)


def _both(clip: tuple[str, int], frames: Rows) -> np.ndarray:
    """Sound and frames of a clip, as one record."""
    path, row = clip
    parts = {"sound": read_sound(path), "frames": frames[row]}
    return np.array(tuple(parts.values()), [(name, part.dtype, part.shape) for name, part in parts.items()])


def _embed_frames(frames: np.ndarray, model: partial) -> np.ndarray:
    return embed_frames(frames, model())


def _embed_sounds(sounds: np.ndarray, model: partial, unit: str, level: float | None) -> np.ndarray:
    return embed_sounds(sounds, model(), unit, level)


def _embed_both(clips: np.ndarray, model: partial, unit: str, level: float | None) -> np.ndarray:
    return embed_both(clips["sound"], clips["frames"], model(), unit, level)


if __name__ == "__main__":
    run(visual=visual, audio=audio, audio_visual=audio_visual)
