"""Predict the disturbed evaluate clips, of all conditions, with one trained classifier, whose network is built once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import Rows, open_rows, read_classes, read_split
from scenes.evaluation.disturbed_scores import seconds_used
from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.front import behind
from scenes.learning.inference import batch_size, load_weights, predict, refuse_not_finite
from scenes.stage.cli import run
from scenes.stage.outputs import write_array
from scenes.systems import FAMILIES, Family


def classifier(family: Family) -> Callable:
    """The command that predicts with a member of a family."""
    made = family.implementation

    def command(
        split: Path,
        classes: Path,
        features: Annotated[Path, typer.Argument(help="of the disturbed evaluate clips, [clips, conditions, ...]")],
        model: Path,
        predictions: Path,
        options: made.Options,
        seconds: Annotated[int, typer.Option(help="of each clip, evenly spaced", min=1, max=10)] = 10,
    ) -> None:
        clips = read_split(split)
        evaluated = clips[clips["fold"] == "evaluate"]
        disturbed = open_rows(features, evaluated)
        network = made.network(options, [disturbed], len(read_classes(classes)))
        load_weights(network, model)
        network = behind(made.front(options, [disturbed]), network)
        load, (medium,) = partial(made.load, options), family.media
        write_array(predictions, _predict(network, model, disturbed, load, evaluated[medium], seconds))

    command.__doc__ = made.__doc__
    return command


def _predict(
    network: keras.Model, model: Path, features: Rows, load: Callable, media: pd.Series, seconds: int
) -> np.ndarray:
    """Probabilities float32 `[conditions, evaluate clips, seconds, classes]`, NaN for a clip without the modality."""
    chosen, present, conditions = seconds_used(seconds), np.flatnonzero(media != ""), features.shape[1]
    probabilities = np.full((conditions, len(media), seconds, network.output_shape[-1]), np.nan, np.float32)

    def disturbed(clips: np.ndarray, units: np.ndarray) -> np.ndarray:
        rows = np.asarray(features).reshape(-1, *features.shape[2:])  # a clip under one condition each
        condition, second = np.divmod(units, seconds)
        return load([rows])(clips * conditions + condition, chosen[second])

    if len(present):
        unlabelled = np.empty((len(media), 0))
        batches = Batches(disturbed, present, unlabelled, batch_size(network), conditions * seconds)
        said = predict(network, batches, model.name).reshape(len(present), conditions, seconds, -1)
        refuse_not_finite(said, list(media.iloc[present]), model)
        probabilities[:, present] = said.swapaxes(0, 1)
    return probabilities


COMMANDS = {name: classifier(family) for name, family in FAMILIES.items() if family.disturbed}

if __name__ == "__main__":
    run(**COMMANDS)
