"""Train VGG14 and a Keras application as one network on the audio and the frame of the same seconds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from scenes.classifiers import audio_spectrogram, visual_image
from scenes.classifiers.audio_visual import Options, audio_visual, front, load
from scenes.classifiers.image_networks import classifier, warn_if_enlarged, weights_inputs
from scenes.dataset.tables import open_rows, read_classes, read_split
from scenes.learning.inference import load_weights
from scenes.learning.training import Recipe, prepare, train
from scenes.stage.cli import run
from scenes.stage.options import Pretrained, Weights
from scenes.systems import FAMILIES


def main(
    split: Path,
    classes: Path,
    spectrogram: Path,
    frames: Path,
    audio_model: Annotated[Path, typer.Argument(help="weights of VGG14 trained alone; for --start single")],
    image_model: Annotated[Path, typer.Argument(help="weights of the image network trained alone; likewise")],
    model: Path,
    history: Path,
    options: Options,
    recipe: Recipe,
    start: Annotated[
        Literal["scratch", "single"],
        typer.Option(help="scratch, or single: from the two networks of one modality each, trained alone"),
    ] = "single",
    pretrained: Pretrained = True,
    weights: Weights = "none",
) -> None:
    clips, table = read_split(split), read_classes(classes)
    arrays = [open_rows(path, clips) for path in (spectrogram, frames)]
    media = FAMILIES["audio_visual"].media
    warn_if_enlarged(arrays[1], options.network, options.size)
    prepare(recipe)
    audio = audio_spectrogram.network(options, arrays[:1], len(table))
    if start == "single":
        image = visual_image.network(options, arrays[1:], len(table))
        load_weights(audio, audio_model)
        load_weights(image, image_model)
        started = [audio_model, image_model]
    else:
        image = classifier(options.network, options.size, pretrained, len(table), weights)
        started = weights_inputs(weights)
    joint = audio_visual(audio, image, len(table), options.mlp_widths, options.mlp_dropout)
    inputs = [split, classes, spectrogram, frames, *started]
    train(joint, front(options, arrays), load(options, arrays), clips, table, media, inputs, model, history, recipe)


if __name__ == "__main__":
    run(main)
