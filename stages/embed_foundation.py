"""Embed frames, or sound, with a frozen foundation model: CLIP, SigLIP 2, DINOv2, or CLAP, AST."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, Rows, read_media
from scenes.features.foundation import DATASET_RATE, FILES, embed_frames, embed_sounds, folder_of, foundation
from scenes.media.clip import read_audio
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError


@dataclass(frozen=True)
class Options:
    """Which model, and what to take of it."""

    model: Annotated[str, typer.Option(help="its name on the hub, owner/name")]
    revision: Annotated[str, typer.Option(help="a commit of it there")] = "main"
    weights: Annotated[str, typer.Option(help="folder of the model in Transformers' layout; none: the hub's")] = "none"
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
    level: Annotated[
        str, typer.Option(help="root mean square that clips are scaled to, dB below full scale; none: as they are")
    ] = "none",
) -> None:
    """Embed sound."""
    clips = read_media(media, "audio")
    model, files = _model(chosen, "audio")
    embed = partial(_embed_sounds, model=model, unit=unit, level=None if level == "none" else _decibels(level))
    inputs = [media, *(Path(path) for path in clips if path), *files]
    map_clips(_sound, clips, (SECONDS, model().dimension), "float32", out, inputs, embed)


def _model(chosen: Options, medium: str) -> tuple[partial, list[Path]]:
    """What makes the model, once a process, and its files."""
    folder = folder_of(chosen.model, chosen.revision, chosen.weights)
    model = partial(foundation, folder, chosen.layer, chosen.precision)
    if model().medium != medium:
        raise InputError(
            f"{folder}: a model of {'sound' if medium == 'video' else 'pictures'}; take it as one of those"
        )
    return model, [folder / file for file in FILES]


def _decibels(level: str) -> float:
    try:
        value = float(level)
    except ValueError:
        value = float("nan")
    if not -100 <= value <= 0:
        raise InputError(f"--level {level}: must be none or from -100 to 0")
    return value


def _sound(path: str | Path) -> np.ndarray:
    return read_audio(path, DATASET_RATE).mean(axis=0)


def _embed_frames(frames: np.ndarray, model: partial) -> np.ndarray:
    return embed_frames(frames, model())


def _embed_sounds(sounds: np.ndarray, model: partial, unit: str, level: float | None) -> np.ndarray:
    return embed_sounds(sounds, model(), unit, level)


if __name__ == "__main__":
    run(visual=visual, audio=audio)
