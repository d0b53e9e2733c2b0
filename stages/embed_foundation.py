"""Embed frames, or sound, with a frozen foundation model: CLIP, SigLIP 2, DINOv2, or CLAP, AST."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, open_array, read_media
from scenes.features.foundation import DATASET_RATE, FILES, embed_frames, embed_sounds, folder_of, foundation
from scenes.media.clip import read_audio
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError

Model = Annotated[str, typer.Option(help="its name on the hub, owner/name")]
Revision = Annotated[str, typer.Option(help="a commit of it there")]
Folder = Annotated[str, typer.Option(help="folder of the model in Transformers' layout; none: the hub's")]
Trained = Annotated[bool, typer.Option(help="whether these weights are trained, which the report says")]
Layer = Annotated[Literal["pooled", "projected"], typer.Option(help="of the network, or in the space of text")]


def visual(
    media: Path,
    frames: Path,
    out: Path,
    model: Model,
    revision: Revision = "main",
    weights: Folder = "none",
    pretrained: Trained = True,
    layer: Layer = "pooled",
    precision: options.Precision = "float32",
) -> None:
    """Embed one frame a second."""
    rows = [row if video else None for row, video in enumerate(read_media(media, "video"))]
    folder = _folder(model, revision, weights, layer, precision, "video")
    shape = SECONDS, foundation(folder, layer, precision).dimension
    embed = partial(_embed_frames, folder=folder, layer=layer, precision=precision)
    map_clips(partial(_frames, frames=frames), rows, shape, "float32", out, [media, frames, *_files(folder)], embed)


def audio(
    media: Path,
    out: Path,
    model: Model,
    revision: Revision = "main",
    weights: Folder = "none",
    pretrained: Trained = True,
    layer: Layer = "pooled",
    unit: options.Unit = "second",
    level: Annotated[
        str, typer.Option(help="root mean square that clips are scaled to, dB below full scale; none: as they are")
    ] = "none",
    precision: options.Precision = "float32",
) -> None:
    """Embed sound."""
    clips = read_media(media, "audio")
    folder = _folder(model, revision, weights, layer, precision, "audio")
    wanted = None if level == "none" else _decibels(level)
    shape = SECONDS, foundation(folder, layer, precision).dimension
    embed = partial(_embed_sounds, folder=folder, layer=layer, precision=precision, unit=unit, level=wanted)
    inputs = [media, *(Path(path) for path in clips if path), *_files(folder)]
    map_clips(_sound, clips, shape, "float32", out, inputs, embed)


def _folder(model: str, revision: str, weights: str, layer: str, precision: str, medium: str) -> Path:
    folder = folder_of(model, revision, weights)
    if foundation(folder, layer, precision).medium != medium:
        raise InputError(
            f"{folder}: a model of {'sound' if medium == 'video' else 'pictures'}; take it as one of those"
        )
    return folder


def _files(folder: Path) -> list[Path]:
    return [folder / file for file in FILES]


def _decibels(level: str) -> float:
    try:
        value = float(level)
    except ValueError:
        value = float("nan")
    if not -100 <= value <= 0:
        raise InputError(f"--level {level}: must be none or from -100 to 0")
    return value


def _frames(row: int, frames: Path) -> np.ndarray:
    return open_array(frames)[row]


def _sound(path: str | Path) -> np.ndarray:
    return read_audio(path, DATASET_RATE).mean(axis=0)


def _embed_frames(frames: np.ndarray, folder: Path, layer: str, precision: str) -> np.ndarray:
    return embed_frames(frames, foundation(folder, layer, precision))


def _embed_sounds(
    sounds: np.ndarray, folder: Path, layer: str, precision: str, unit: str, level: float | None
) -> np.ndarray:
    return embed_sounds(sounds, foundation(folder, layer, precision), unit, level)


if __name__ == "__main__":
    run(visual=visual, audio=audio)
