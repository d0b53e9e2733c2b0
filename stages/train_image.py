"""Train a Keras application on single frames, every layer of it: a visual-image framework (the paper, Table IV)."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scenes.classifiers.image_networks import classifier, pictures, warn_if_enlarged, weights_inputs
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import open_rows, read_classes, read_split
from scenes.training import Recipe, prepare, train


def main(
    split: Path,
    classes: Path,
    frames: Path,
    model: Path,
    history: Path,
    network: Annotated[str, typer.Option(help="Xception, VGG19, ResNet50, InceptionV3, MobileNetV2, DenseNet121, ...")],
    size: options.Size,
    pretrained: options.Pretrained = True,
    weights: options.Weights = "none",
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
    stills = open_rows(frames, clips)
    warn_if_enlarged(stills, network, size)
    load = partial(pictures, stills, name=network, size=size)
    prepare(precision, seed)
    net = classifier(network, size, pretrained, len(table), weights)
    inputs = [split, classes, frames, *weights_inputs(weights)]
    train(net, load, clips, table, "video", inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
