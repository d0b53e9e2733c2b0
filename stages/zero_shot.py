"""Predict every second of the clips outside train by the names of the classes, and score the evaluate clips."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.classifiers.zero_shot import class_vectors, probabilities
from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, open_array, open_rows, read_classes, read_split
from scenes.evaluation.scoring import evaluate
from scenes.features.foundation import (
    decibels,
    embed_frames,
    embed_sounds,
    files_of,
    folder_of,
    load,
    read_sound,
)
from scenes.stage import options
from scenes.stage.cli import run


@dataclass(frozen=True)
class Options:
    """Which model, and the sentences about the classes that it is told."""

    model: options.HubModel
    templates: Annotated[list[str], typer.Option(help="with {class}, or {a class} for it and its article")]
    revision: options.Revision = "main"
    weights: options.ModelFolder = "none"
    precision: options.Precision = "float32"


def visual(
    split: Path, classes: Path, frames: Path, predictions: Path, confusion: Path, metrics: Path, chosen: Options
) -> None:
    """Classify one frame a second with a model of pictures and text."""
    clips, table = read_split(split), read_classes(classes)
    model, vectors, files = _model(chosen, "video", table)
    rows = [row if video else None for row, video in _unseen(clips)["video"].items()]
    judge = partial(_judge_frames, model=model, vectors=vectors)
    inputs = [split, classes, frames, *files]
    map_clips(
        open_rows(frames, clips).__getitem__, rows, (SECONDS, len(table)), "float32", predictions, inputs, judge, np.nan
    )
    evaluate(clips, table, open_array(predictions), confusion, metrics)


def audio(
    split: Path,
    classes: Path,
    predictions: Path,
    confusion: Path,
    metrics: Path,
    chosen: Options,
    unit: options.Unit = "second",
    level: options.Level = "none",
) -> None:
    """Classify sound with a model of sound and text."""
    clips, table = read_split(split), read_classes(classes)
    model, vectors, files = _model(chosen, "audio", table)
    paths = list(_unseen(clips)["audio"])
    judge = partial(_judge_sounds, model=model, vectors=vectors, unit=unit, level=decibels(level))
    inputs = [split, classes, *(Path(path) for path in paths if path), *files]
    map_clips(read_sound, paths, (SECONDS, len(table)), "float32", predictions, inputs, judge, np.nan)
    evaluate(clips, table, open_array(predictions), confusion, metrics)


def _model(chosen: Options, medium: str, classes: pd.DataFrame) -> tuple[partial, np.ndarray, list[Path]]:
    """What makes the model, once a process, the vectors of the classes, and the model's files."""
    folder = folder_of(chosen.model, chosen.revision, chosen.weights, text=True)
    model = load(folder, "projected", chosen.precision, medium)
    return model, class_vectors(classes["class"], chosen.templates, model()), files_of(folder)


def _unseen(clips: pd.DataFrame) -> pd.DataFrame:
    return clips[clips["fold"] != "train"]


def _judge_frames(frames: np.ndarray, model: partial, vectors: np.ndarray) -> np.ndarray:
    return probabilities(embed_frames(frames, model()), vectors)


def _judge_sounds(
    sounds: np.ndarray, model: partial, vectors: np.ndarray, unit: str, level: float | None
) -> np.ndarray:
    return probabilities(embed_sounds(sounds, model(), unit, level), vectors)


if __name__ == "__main__":
    run(visual=visual, audio=audio)
