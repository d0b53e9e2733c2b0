"""Train a Keras application on single frames, every layer of it: a visual-image framework (the paper, Table IV)."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scenes.backend import keras
from scenes.cli import run
from scenes.dataset import open_rows, read_classes, read_split
from scenes.image_networks import classifier, pictures
from scenes.options import L2, MIXUP_PARTS, Batch, Epochs, LearningRate, Mixup, MixupAlpha, Reestimate, Seconds, Seed
from scenes.training import Recipe, train


def main(
    split: Path,
    classes: Path,
    frames: Path,
    model: Path,
    history: Path,
    network: Annotated[str, typer.Option(help="Xception, VGG19, ResNet50, InceptionV3, MobileNetV2, DenseNet121, ...")],
    size: Annotated[int, typer.Option(help="height and width of the network's input, pixels")],
    pretrained: Annotated[bool, typer.Option(help="start from the ImageNet weights")] = True,
    epochs: Epochs = 100,
    batch: Batch = 100,
    seconds: Seconds = 10,
    lr: LearningRate = 1e-4,
    l2: L2 = 1e-4,
    mixup: Mixup = MIXUP_PARTS,
    mixup_alpha: MixupAlpha = 0.4,
    reestimate_batch_norm: Reestimate = False,
    seed: Seed = 0,
) -> None:
    recipe = Recipe(epochs, batch, seconds, lr, l2, mixup, mixup_alpha, reestimate_batch_norm, seed)
    clips, table = read_split(split), read_classes(classes)
    load = partial(pictures, open_rows(frames, clips), name=network, size=size)
    keras.utils.set_random_seed(seed)
    net = classifier(network, size, pretrained, len(table))
    train(net, load, clips, table, "video", [split, frames], model, history, recipe)


if __name__ == "__main__":
    run(main)
