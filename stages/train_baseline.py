"""Train a system of the DCASE 2021 Task 1B baseline on OpenL3's embeddings of single frames."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.classifiers.baseline import (
    MODALITIES,
    build,
    classifier,
    columns,
    loader,
    moments,
    official,
    open_embeddings,
    set_moments,
)
from scenes.dataset.tables import hold_out, read_classes, read_split
from scenes.learning.front import as_stored
from scenes.learning.inference import load_weights
from scenes.learning.training import Recipe, prepare, train
from scenes.stage import options
from scenes.stage.cli import run


def main(
    system: Annotated[Literal["audio", "visual", "early", "official"], typer.Argument(help="which of the four")],
    split: Path,
    classes: Path,
    embedding: Annotated[str, typer.Argument(help="embeddings, with {modality}")],
    nets: Annotated[str, typer.Argument(help="the trained audio and visual system, with {modality}; for official")],
    model: Path,
    history: Path,
    validation: Annotated[
        float, typer.Option(help="part of a class's train locations to hold out", min=0, max=0.9)
    ] = 0.1,
    epochs: options.Epochs = 199,
    batch: options.Batch = 64,
    micro_batch: options.MicroBatch = None,
    lr: options.LearningRate = 1e-4,
    l2: options.L2 = 1e-4,
    precision: options.Precision = "float32",
    save_minutes: options.SaveMinutes = 10,
    seed: options.Seed = 0,
    split_seed: Annotated[
        int, typer.Option(help="seed of the choice of validation locations", min=0, max=2**32 - 1)
    ] = 0,
) -> None:
    clips, table = read_split(split), read_classes(classes)
    # The baseline has a validation of its own: that of the other systems is kept out of it, as of their training. Which
    # locations it holds out is a matter of the split: trainings with several seeds hold out the same.
    own = hold_out(clips.assign(fold=clips["fold"].replace("validation", "evaluate")), validation, split_seed)
    embeddings = open_embeddings(system, embedding, clips)
    frames, dimension = embeddings[0].shape[1:]
    recipe = Recipe(epochs, batch, micro_batch, frames, lr, l2, ["original"], 1.0, False, seed, precision, save_minutes)
    prepare(recipe)
    inputs = [split, classes, *(Path(embedding.format(modality=modality)) for modality in MODALITIES[system])]
    if system == "official":
        trained = [Path(nets.format(modality=modality)) for modality in MODALITIES[system]]
        parts = [classifier(dimension, len(table), modality) for modality in MODALITIES[system]]
        for part, path in zip(parts, trained, strict=True):
            load_weights(part, path)
        network, inputs = official(*parts, len(table)), inputs + trained
    else:
        network = build(system, dimension, len(table))
        present = (own[columns(system)] != "").all(axis=1) & (own["fold"] == "train")
        if present.any():
            set_moments(network, *moments(embeddings, np.flatnonzero(present)))
    load, media = loader(embeddings), columns(system)
    front = as_stored(network.input_shape[-1])
    train(network, front, load, own, table, media, inputs, model, history, recipe, frames, keep="best")


if __name__ == "__main__":
    run(main)
