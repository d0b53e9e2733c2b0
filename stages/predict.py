"""Predict every second of the clips outside train with one trained classifier, and score the evaluate clips."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer

from scenes.classifiers.baseline import build, columns, loader, open_embeddings
from scenes.dataset.tables import SECONDS, open_rows, read_classes, read_split
from scenes.evaluation import baseline_scores
from scenes.evaluation.scoring import evaluate
from scenes.learning.backend import keras
from scenes.learning.batches import Batches, Load
from scenes.learning.front import as_stored, behind
from scenes.learning.inference import batch_size, load_weights, predict, refuse_not_finite
from scenes.stage.cli import run
from scenes.stage.outputs import write_array
from scenes.systems import AUDIO_SPECTROGRAM_STRICT, FAMILIES, Family


def classifier(family: Family, strict: bool = False) -> Callable:
    """The command that predicts with a member of a family; `strict`: features are of the clips not in train alone."""
    made = family.implementation

    def command(
        split: Path,
        classes: Path,
        features: Annotated[list[Path], typer.Argument(help=f"{' and '.join(family.features)}, .npy")],
        model: Path,
        predictions: Path,
        confusion: Path,
        metrics: Path,
        options: made.Options,
    ) -> None:
        clips, table = read_split(split), read_classes(classes)
        rows = clips[clips["fold"] != "train"].reset_index(drop=True) if strict else clips
        arrays = [open_rows(path, rows) for path in features]
        network = made.network(options, arrays, len(table))
        front, load = made.front(options, arrays), made.load(options, arrays)
        probabilities = _predict(network, front, model, load, rows, family.media)
        write_array(predictions, probabilities)
        evaluate(clips, table, probabilities, confusion, metrics)

    command.__doc__ = made.__doc__
    return command


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
    front = as_stored(network.input_shape[-1])
    probabilities = _predict(network, front, model, loader(embeddings), clips, columns(system), frames)
    write_array(predictions, probabilities)
    seconds, of_clips = baseline_scores.seconds(probabilities), baseline_scores.clips(probabilities)
    evaluate(clips, table, seconds, confusion, metrics, of_clips)


def _predict(
    network: keras.Model,
    front: keras.Model,
    model: Path,
    load: Load,
    split: pd.DataFrame,
    media: list[str],
    units: int = SECONDS,
) -> np.ndarray:
    """Probabilities float32 `[clips not in train, units, classes]`, NaN for a clip that lacks one of `media`."""
    load_weights(network, model)
    network = behind(front, network)
    clips = split[split["fold"] != "train"]
    present = (clips[media] != "").all(axis=1).to_numpy()
    probabilities = np.full((len(clips), units, network.output_shape[-1]), np.nan, np.float32)
    if present.any():
        rows, unlabelled = clips.index.to_numpy()[present], np.empty((len(split), 0))
        batches = Batches(load, rows, unlabelled, batch_size(network), units)
        probabilities[present] = predict(network, batches, model.name).reshape(-1, *probabilities.shape[1:])
        refuse_not_finite(probabilities[present], list(clips["clip"][present]), model)
    return probabilities


COMMANDS = {
    **{name: classifier(family) for name, family in FAMILIES.items() if family.module},
    "audio_spectrogram_strict": classifier(AUDIO_SPECTROGRAM_STRICT, strict=True),
    "baseline": baseline,
}

if __name__ == "__main__":
    run(**COMMANDS)
