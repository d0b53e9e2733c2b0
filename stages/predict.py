"""Predict every second of the clips outside train with one trained classifier, and score the evaluate clips."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.classifiers import audio_visual as joint
from scenes.classifiers.baseline import build, columns, loader, open_embeddings
from scenes.classifiers.image_networks import classifier, pictures
from scenes.classifiers.mlp import WIDTHS as MLP_WIDTHS
from scenes.classifiers.mlp import mlp
from scenes.classifiers.patches import patch_shape, patches, strict_shape
from scenes.classifiers.strict import strict_patches
from scenes.classifiers.vgg14 import DROPOUT, WIDTHS, vgg14
from scenes.evaluation import baseline_scores
from scenes.evaluation.scoring import evaluate
from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.inference import batch_size, load_weights, predict, refuse_not_finite
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import SECONDS, open_rows, read_classes, read_split
from scenes.stage.outputs import write_array


def audio_spectrogram(
    split: Path,
    classes: Path,
    spectrogram: Path,
    model: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
    batch_norm: options.BatchNorm = "both",
    strict: Annotated[bool, typer.Option(help="of spectrograms that were made with --strict")] = False,
) -> None:
    """VGG14 on the patches of a spectrogram."""
    clips, table = read_split(split), read_classes(classes)
    outside_train = clips["fold"] != "train"
    spectrograms = open_rows(spectrogram, clips[outside_train] if strict else clips)
    shape, load = patch_shape, partial(patches, spectrograms)
    if strict:
        shape, load = strict_shape, partial(strict_patches, spectrograms, outside_train.cumsum().to_numpy() - 1)
    network = vgg14(len(table), widths, dense, dropout, dense_dropout, momentum, batch_norm, shape(spectrograms))
    probabilities = _predict(network, model, load, clips, "audio")
    write_array(predictions, probabilities)
    evaluate(clips, table, probabilities, confusion, metrics)


def embedding(
    split: Path,
    classes: Path,
    embedding: Path,
    model: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
    modality: options.Modality,
    widths: options.Widths = MLP_WIDTHS,
    dropout: options.DropoutRate = 0.4,
) -> None:
    """The MLP on audio or visual embeddings."""
    clips, table = read_split(split), read_classes(classes)
    embeddings = open_rows(embedding, clips)
    network = mlp(embeddings.shape[-1], len(table), widths, dropout)
    probabilities = _predict(network, model, lambda clip, second: embeddings[clip, second], clips, modality)
    write_array(predictions, probabilities)
    evaluate(clips, table, probabilities, confusion, metrics)


def visual_image(
    split: Path,
    classes: Path,
    frames: Path,
    model: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
) -> None:
    """A Keras application on single frames."""
    clips, table = read_split(split), read_classes(classes)
    load = partial(pictures, open_rows(frames, clips), name=network, size=size)
    net = classifier(network, size, False, len(table))
    probabilities = _predict(net, model, load, clips, "video")
    write_array(predictions, probabilities)
    evaluate(clips, table, probabilities, confusion, metrics)


def audio_visual(
    split: Path,
    classes: Path,
    spectrogram: Path,
    frames: Path,
    model: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
    batch_norm: options.BatchNorm = "both",
    mlp_widths: options.Widths = MLP_WIDTHS,
    mlp_dropout: options.DropoutRate = 0.4,
) -> None:
    """VGG14 and a Keras application as one network; a clip without sound or without pictures has no prediction."""
    clips, table = read_split(split), read_classes(classes)
    spectrograms = open_rows(spectrogram, clips)
    load = joint.loader(
        partial(patches, spectrograms), partial(pictures, open_rows(frames, clips), name=network, size=size)
    )
    audio = vgg14(len(table), widths, dense, dropout, dense_dropout, momentum, batch_norm, patch_shape(spectrograms))
    image = classifier(network, size, False, len(table))
    net = joint.audio_visual(audio, image, len(table), mlp_widths, mlp_dropout)
    probabilities = _predict(net, model, load, clips, joint.MODALITIES)
    write_array(predictions, probabilities)
    evaluate(clips, table, probabilities, confusion, metrics)


def baseline(
    system: Annotated[Literal["audio", "visual", "early", "official"], typer.Argument(help="which of the four")],
    split: Path,
    classes: Path,
    embedding: Annotated[str, typer.Argument(help="embeddings, with {modality}")],
    model: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
) -> None:
    """A system of the DCASE 2021 Task 1B baseline on OpenL3's embeddings."""
    clips, table = read_split(split), read_classes(classes)
    embeddings = open_embeddings(system, embedding, clips)
    frames, dimension = embeddings[0].shape[1:]
    network = build(system, dimension, len(table))
    probabilities = _predict(network, model, loader(embeddings), clips, columns(system), frames)
    write_array(predictions, probabilities)
    seconds, of_clips = baseline_scores.seconds(probabilities), baseline_scores.clips(probabilities)
    evaluate(clips, table, seconds, confusion, metrics, of_clips)


def _predict(
    network: keras.Model, model: Path, load: Callable, split, modality: str | list[str], units: int = SECONDS
) -> np.ndarray:
    """Probabilities float32 `[clips not in train, units, classes]`, NaN for a clip without the modality."""
    load_weights(network, model)
    clips = split[split["fold"] != "train"]
    present = (clips[np.atleast_1d(modality)] != "").all(axis=1).to_numpy()
    probabilities = np.full((len(clips), units, network.output_shape[-1]), np.nan, np.float32)
    if present.any():
        rows, unlabelled = clips.index.to_numpy()[present], np.empty((len(split), 0))
        batches = Batches(load, rows, unlabelled, batch_size(network), units)
        probabilities[present] = predict(network, batches, model.name).reshape(-1, *probabilities.shape[1:])
        refuse_not_finite(probabilities[present], list(clips["clip"][present]), model)
    return probabilities


if __name__ == "__main__":
    run(audio_spectrogram, embedding, visual_image, audio_visual, baseline)
