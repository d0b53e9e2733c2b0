"""Embed sound with a model of the user's own, of a module that has the API of HEAR 2021."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, read_media
from scenes.features.audio_module import DATASET_RATE, embed, hear
from scenes.features.user_code import files, weights_of
from scenes.media.clip import read_audio
from scenes.stage import options
from scenes.stage.cli import run


def main(
    media: Path,
    out: Path,
    module: Annotated[str, typer.Option(help="name of the module, installed or in this folder: trusted code")],
    weights: options.OwnWeights = "none",
    unit: Annotated[
        Literal["second", "clip", "timestamps"],
        typer.Option(help="scene embedding of each second, of the whole clip, or means of its timestamp embeddings"),
    ] = "second",
) -> None:
    clips, model = read_media(media, "audio"), partial(hear, module, weights, unit)
    shape = SECONDS, model().dimension
    own = [*weights_of(module, weights, Path()), *files(module)]
    inputs = [media, *(Path(path) for path in clips if path), *own]
    map_clips(_sound, clips, shape, "float32", out, inputs, partial(_embed, model=model))


def _sound(path: str | Path) -> np.ndarray:
    return read_audio(path, DATASET_RATE).mean(axis=0)


def _embed(sounds: np.ndarray, model: partial) -> np.ndarray:
    return embed(sounds, model())


if __name__ == "__main__":
    run(main)
