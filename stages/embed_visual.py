"""Embed each clip's frames with a Keras application (Table IV): its second-to-last layer, ten embeddings a clip."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.classifiers.image_networks import warn_if_enlarged, weights_inputs
from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, Rows, open_array, read_media
from scenes.features.visual_embedding import embed, embedder, sample
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError


def main(
    media: Path,
    frames: Path,
    out: Path,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
    pretrained: options.Pretrained = True,
    weights: options.Weights = "none",
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
) -> None:
    filmed = [row if video else None for row, video in enumerate(read_media(media, "video"))]
    if all(row is None for row in filmed):
        raise InputError(f"{media}: no clip has a video, there is nothing to embed")
    warn_if_enlarged(open_array(frames), network, size)
    prepare = partial(embedder, frames, sample(media, pretrained), network, size, pretrained, weights, precision, seed)
    inputs = [media, frames, *weights_inputs(weights)]
    map_clips(
        Rows(frames).__getitem__, filmed, (SECONDS, prepare().output_shape[-1]), "float32", out, inputs,
        network=partial(_embed, prepare=prepare),
    )  # fmt: skip


def _embed(frames: np.ndarray, prepare: partial) -> np.ndarray:
    return embed(frames, prepare())


if __name__ == "__main__":
    run(main)
