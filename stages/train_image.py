"""Train a Keras application on single frames, every layer of it: a visual-image classifier (the paper, Table IV)."""

from pathlib import Path

from scenes.classifiers.image_networks import classifier, warn_if_enlarged, weights_inputs
from scenes.classifiers.visual_image import Options, front, load
from scenes.dataset.tables import open_rows, read_classes, read_split
from scenes.learning.training import Recipe, prepare, train
from scenes.stage.cli import run
from scenes.stage.options import Pretrained, Weights
from scenes.systems import FAMILIES


def main(
    split: Path,
    classes: Path,
    frames: Path,
    model: Path,
    history: Path,
    options: Options,
    recipe: Recipe,
    pretrained: Pretrained = True,
    weights: Weights = "none",
) -> None:
    clips, table = read_split(split), read_classes(classes)
    arrays = [open_rows(frames, clips)]
    media = FAMILIES["visual_image"].media
    warn_if_enlarged(*arrays, options.network, options.size)
    prepare(recipe)
    net = classifier(options.network, options.size, pretrained, len(table), weights)
    inputs = [split, classes, frames, *weights_inputs(weights)]
    train(net, front(options, arrays), load(options, arrays), clips, table, media, inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
