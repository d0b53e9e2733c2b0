"""Predict the disturbed evaluate clips, of all conditions, with one trained classifier, whose network is built once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.classifiers.image_networks import classifier, pictures
from scenes.classifiers.patches import patch_shape, patches
from scenes.classifiers.vgg14 import DROPOUT, WIDTHS, vgg14
from scenes.evaluation.robustness import seconds_used
from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.inference import batch_size, load_weights, predict, refuse_not_finite
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import Rows, open_rows, read_classes, read_split
from scenes.stage.outputs import write_array

Features = Annotated[Path, typer.Argument(help="those of the disturbed evaluate clips, [clips, conditions, ...]")]
Seconds = Annotated[int, typer.Option(help="of each clip, evenly spaced", min=1, max=10)]


def audio_spectrogram(
    split: Path,
    classes: Path,
    features: Features,
    model: Path,
    predictions: Path,
    seconds: Seconds = 10,
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
    batch_norm: options.BatchNorm = "both",
) -> None:
    """VGG14 on the patches of spectrograms of noisy sound."""
    clips = _evaluated(split)
    spectrograms = open_rows(features, clips)
    shape = patch_shape(spectrograms)
    network = vgg14(len(read_classes(classes)), widths, dense, dropout, dense_dropout, momentum, batch_norm, shape)
    write_array(predictions, _predict(network, model, spectrograms, patches, clips["audio"], seconds))


def visual_image(
    split: Path,
    classes: Path,
    features: Features,
    model: Path,
    predictions: Path,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
    seconds: Seconds = 10,
) -> None:
    """A Keras application on disturbed frames."""
    clips = _evaluated(split)
    frames, load = open_rows(features, clips), partial(pictures, name=network, size=size)
    net = classifier(network, size, False, len(read_classes(classes)))
    write_array(predictions, _predict(net, model, frames, load, clips["video"], seconds))


def _evaluated(split: Path) -> pd.DataFrame:
    clips = read_split(split)
    return clips[clips["fold"] == "evaluate"]


def _predict(
    network: keras.Model, model: Path, features: Rows, load: Callable, media: pd.Series, seconds: int
) -> np.ndarray:
    """Probabilities float32 `[conditions, evaluate clips, seconds, classes]`, NaN for a clip without the modality."""
    load_weights(network, model)
    chosen, present, conditions = seconds_used(seconds), np.flatnonzero(media != ""), features.shape[1]
    probabilities = np.full((conditions, len(media), seconds, network.output_shape[-1]), np.nan, np.float32)

    def disturbed(clips: np.ndarray, units: np.ndarray) -> np.ndarray:
        rows = np.asarray(features).reshape(-1, *features.shape[2:])  # a clip under one condition each
        condition, second = np.divmod(units, seconds)
        return load(rows, clips * conditions + condition, chosen[second])

    if len(present):
        unlabelled = np.empty((len(media), 0))
        batches = Batches(disturbed, present, unlabelled, batch_size(network), conditions * seconds)
        said = predict(network, batches, model.name).reshape(len(present), conditions, seconds, -1)
        refuse_not_finite(said, list(media.iloc[present]), model)
        probabilities[:, present] = said.swapaxes(0, 1)
    return probabilities


if __name__ == "__main__":
    run(audio_spectrogram, visual_image)
