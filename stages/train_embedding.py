"""Train the MLP of Table II on audio or visual embeddings of single seconds, as the paper, or on those of both."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from scenes.classifiers.embedding import Options, front, load, network
from scenes.dataset.tables import open_rows, read_classes, read_split
from scenes.learning.training import Recipe, prepare, train
from scenes.stage.cli import run
from scenes.systems import FAMILIES


def main(
    family: Annotated[
        Literal[
            "audio-embedding",
            "visual-embedding",
            "audio-foundation",
            "visual-foundation",
            "audio-module",
            "visual-module",
            "audio-visual-foundation",
        ],
        typer.Argument(help="whose embeddings"),
    ],
    split: Path,
    classes: Path,
    embedding: Path,
    model: Path,
    history: Path,
    options: Options,
    recipe: Recipe,
) -> None:
    clips, table = read_split(split), read_classes(classes)
    arrays = [open_rows(embedding, clips)]
    media = FAMILIES[family.replace("-", "_")].media
    prepare(recipe)
    net = network(options, arrays, len(table))
    inputs = [split, classes, embedding]
    train(net, front(options, arrays), load(options, arrays), clips, table, media, inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
