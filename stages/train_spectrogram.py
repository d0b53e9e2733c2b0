"""Train VGG14 on the patches of one kind of spectrogram: an audio-spectrogram framework (the paper, Table I)."""

from functools import partial
from pathlib import Path

from scenes.classifiers.patches import patch_shape, patches
from scenes.classifiers.vgg14 import DROPOUT, WIDTHS, vgg14
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.dataset import open_rows, read_classes, read_split
from scenes.training import Recipe, prepare, train


def main(
    split: Path,
    classes: Path,
    spectrogram: Path,
    model: Path,
    history: Path,
    widths: options.Widths = WIDTHS,
    dense: options.Units = 1024,
    dropout: options.DropoutRates = DROPOUT,
    dense_dropout: options.DropoutRate = 0.4,
    momentum: options.Momentum = 0.9,
    batch_norm: options.BatchNorm = "both",
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
    spectrograms = open_rows(spectrogram, clips)
    prepare(precision, seed)
    network = vgg14(len(table), widths, dense, dropout, dense_dropout, momentum, batch_norm, patch_shape(spectrograms))
    train(
        network, partial(patches, spectrograms), clips, table, "audio", [split, classes, spectrogram], model,
        history, recipe,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
