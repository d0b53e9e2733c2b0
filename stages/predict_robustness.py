"""Predict the disturbed evaluate clips, of all conditions, with one trained classifier, whose network is built once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.classifiers.image_networks import classifier, pictures
from scenes.classifiers.patches import patches
from scenes.classifiers.vgg14 import DROPOUT, WIDTHS, vgg14
from scenes.evaluation.robustness import seconds_used
from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.inference import BATCH, load_weights, predict
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import open_rows, read_classes, read_split
from scenes.stage.outputs import write_array

Conditions = Annotated[list[Path], typer.Argument(help="features of the disturbed clips, a file a condition")]
Seconds = Annotated[int, typer.Option(help="of each clip, evenly spaced", min=1, max=10)]


def audio_spectrogram(
    split: Path,
    classes: Path,
    model: Path,
    predictions: Path,
    conditions: Conditions,
    seconds: Seconds = 10,
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
) -> None:
    """VGG14 on the patches of spectrograms of noisy sound."""
    clips = _evaluated(split)
    spectrograms = [open_rows(path, clips) for path in conditions]
    bins = spectrograms[0].shape[-2]
    network = vgg14(len(read_classes(classes)), widths, dense, dropout, dense_dropout, momentum, bins)
    loads = [partial(patches, array) for array in spectrograms]
    write_array(predictions, _predict(network, model, loads, clips["audio"], seconds))


def visual_image(
    split: Path,
    classes: Path,
    model: Path,
    predictions: Path,
    conditions: Conditions,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
    seconds: Seconds = 10,
) -> None:
    """A Keras application on disturbed frames."""
    clips = _evaluated(split)
    loads = [partial(pictures, open_rows(path, clips), name=network, size=size) for path in conditions]
    net = classifier(network, size, False, len(read_classes(classes)))
    write_array(predictions, _predict(net, model, loads, clips["video"], seconds))


def _evaluated(split: Path) -> pd.DataFrame:
    clips = read_split(split)
    return clips[clips["fold"] == "evaluate"]


def _predict(network: keras.Model, model: Path, loads: list[Callable], media: pd.Series, seconds: int) -> np.ndarray:
    """Probabilities float32 `[conditions, evaluate clips, seconds, classes]`, NaN for a clip without the modality."""
    load_weights(network, model)
    chosen, present = seconds_used(seconds), np.flatnonzero(media != "")
    shape = len(loads), len(media), seconds, network.output_shape[-1]
    probabilities = np.full(shape, np.nan, np.float32)
    for number, load in enumerate(loads):
        batches = Batches(
            lambda clips, units, load=load: load(clips, chosen[units]), present, np.empty((len(media), 0)), BATCH,
            seconds,
        )  # fmt: skip
        if len(present):
            said = predict(network, batches, f"{model.name}, {number + 1} of {len(loads)}")
            probabilities[number, present] = said.reshape(-1, *shape[2:])
    return probabilities


if __name__ == "__main__":
    run(audio_spectrogram, visual_image)
