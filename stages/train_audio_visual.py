"""Train VGG14 and a Keras application as one network on the sound and the picture of the same seconds."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from scenes.classifiers.audio_visual import MODALITIES, audio_visual, loader
from scenes.classifiers.image_networks import classifier, pictures, warn_if_enlarged, weights_inputs
from scenes.classifiers.mlp import WIDTHS as MLP_WIDTHS
from scenes.classifiers.patches import patch_shape, patches
from scenes.classifiers.vgg14 import DROPOUT, WIDTHS, vgg14
from scenes.learning.inference import load_weights
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import open_rows, read_classes, read_split
from scenes.training import Recipe, prepare, train


def main(
    split: Path,
    classes: Path,
    spectrogram: Path,
    frames: Path,
    audio_model: Annotated[Path, typer.Argument(help="weights of VGG14 trained alone; for --start single")],
    image_model: Annotated[Path, typer.Argument(help="weights of the image network trained alone; likewise")],
    model: Path,
    history: Path,
    network: Annotated[str, typer.Option(help="name of the Keras application")],
    size: options.Size,
    start: Annotated[
        Literal["scratch", "single"],
        typer.Option(help="scratch, or single: from the two networks of one modality each, trained alone"),
    ] = "single",
    pretrained: Annotated[bool, typer.Option(help="from scratch: the image network from trained weights")] = True,
    weights: options.Weights = "none",
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
    batch_norm: options.BatchNorm = "both",
    mlp_widths: options.Widths = MLP_WIDTHS,
    mlp_dropout: options.DropoutRate = 0.4,
    epochs: options.Epochs = 100,
    batch: options.Batch = 100,
    seconds: options.Seconds = 10,
    lr: options.LearningRate = 1e-4,
    l2: options.L2 = 1e-4,
    mixup: options.Mixup = options.MIXUP_PARTS,
    mixup_alpha: options.MixupAlpha = 0.4,
    reestimate_batch_norm: options.Reestimate = False,
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
) -> None:
    recipe = Recipe(epochs, batch, seconds, lr, l2, mixup, mixup_alpha, reestimate_batch_norm, seed)
    clips, table = read_split(split), read_classes(classes)
    spectrograms, stills = open_rows(spectrogram, clips), open_rows(frames, clips)
    warn_if_enlarged(stills, network, size)
    prepare(precision, seed)
    audio = vgg14(len(table), widths, dense, dropout, dense_dropout, momentum, batch_norm, patch_shape(spectrograms))
    inputs = [split, classes, spectrogram, frames]
    if start == "single":
        image = classifier(network, size, False, len(table))
        load_weights(audio, audio_model)
        load_weights(image, image_model)
        inputs += [audio_model, image_model]
    else:
        image = classifier(network, size, pretrained, len(table), weights)
        inputs += weights_inputs(weights)
    joint = audio_visual(audio, image, len(table), mlp_widths, mlp_dropout)
    load = loader(partial(patches, spectrograms), partial(pictures, stills, name=network, size=size))
    train(joint, load, clips, table, MODALITIES, inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
