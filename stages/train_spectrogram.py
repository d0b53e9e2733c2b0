"""Train VGG14 on the patches of one kind of spectrogram: an audio-spectrogram classifier (the paper, Table I)."""

from pathlib import Path

from scenes.classifiers.audio_spectrogram import Options, front, load, network
from scenes.dataset.tables import open_rows, read_classes, read_split
from scenes.learning.training import Recipe, prepare, train
from scenes.stage.cli import run
from scenes.systems import FAMILIES


def main(
    split: Path, classes: Path, spectrogram: Path, model: Path, history: Path, options: Options, recipe: Recipe
) -> None:
    clips, table = read_split(split), read_classes(classes)
    arrays = [open_rows(spectrogram, clips)]
    media = FAMILIES["audio_spectrogram"].media
    prepare(recipe)
    net = network(options, arrays, len(table))
    inputs = [split, classes, spectrogram]
    train(net, front(options, arrays), load(options, arrays), clips, table, media, inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
