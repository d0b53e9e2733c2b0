"""Embed frames with a network of the user's own, Keras or torch, that a function makes."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, Rows, read_media
from scenes.features.user_code import files, weights_of
from scenes.features.visual_module import embed
from scenes.features.visual_module import network as made
from scenes.stage import options
from scenes.stage.cli import run


def main(
    media: Path,
    frames: Path,
    out: Path,
    network: Annotated[str, typer.Option(help="module:function, installed or in this folder: trusted code")],
    size: options.Size,
    weights: options.OwnWeights = "none",
) -> None:
    rows = [row if video else None for row, video in enumerate(read_media(media, "video"))]
    model = partial(made, network, weights, size)
    shape = SECONDS, model().dimension
    inputs = [media, frames, *weights_of(network, weights, Path()), *files(network.partition(":")[0])]
    map_clips(Rows(frames).__getitem__, rows, shape, "float32", out, inputs, partial(_embed, model=model))


def _embed(frames: np.ndarray, model: partial) -> np.ndarray:
    return embed(frames, model())


if __name__ == "__main__":
    run(main)
