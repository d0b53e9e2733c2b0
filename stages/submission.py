"""Predictions for an unlabelled evaluation set, such as DCASE 2021 Task 1B's, in the challenge's column format.

`clips` turns the list of the set's files into the table that the other scripts take; `write` turns the predictions of
an ensemble into the file to submit. The README says what lies between.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import SETUP_COLUMNS, SPLIT_COLUMNS, read_classes, read_split, read_table
from scenes.evaluation.predictions import read_fused
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, writing


def clips(
    files: Annotated[Path, typer.Argument(help="tab-separated, columns filename_audio and filename_video")],
    audio: Annotated[Path, typer.Argument(help="folder of the wav files")],
    video: Annotated[Path, typer.Argument(help="folder of the mp4 files")],
    out: Annotated[Path, typer.Argument(help="output: a split.csv whose clips have no class")],
) -> None:
    """Make the table of clips."""
    table = read_table(files, SETUP_COLUMNS[:2], sep="\t", more=True)
    named = {"audio": table["filename_audio"].map(lambda name: str(audio / Path(name).name)),
             "video": table["filename_video"].map(lambda name: str(video / Path(name).name))}  # fmt: skip
    for path in (path for paths in named.values() for path in paths):
        if not Path(path).is_file():
            raise InputError(f"{path}: missing; {files} names it")
    split = pd.DataFrame({"clip": named["audio"].map(lambda path: Path(path).stem), **named, "fold": "evaluate"})
    write_csv(out, split.reindex(columns=SPLIT_COLUMNS, fill_value=""))


def write(
    split: Path,
    classes: Path,
    predictions: Annotated[Path, typer.Argument(help="of an ensemble, as fuse.py writes them")],
    out: Annotated[Path, typer.Argument(help="output, tab-separated: filename, scene_label, one column a class")],
) -> None:
    """Write the file to submit."""
    table, names = read_split(split), read_classes(classes)["class"]
    probabilities = read_fused(predictions, table, read_classes(classes)).astype(np.float64)
    without = np.isnan(probabilities).any(axis=1)
    if without.any():
        raise InputError(
            f"{predictions}: {without.sum()} clips without prediction, {table['clip'][without].iloc[0]} first"
        )
    submission = pd.DataFrame(probabilities, columns=names)
    submission.insert(0, "filename", table["audio"].map(lambda path: Path(path).name))
    submission.insert(1, "scene_label", names.to_numpy()[probabilities.argmax(axis=1)])
    with writing(out) as temporary:
        submission.to_csv(temporary, sep="\t", index=False, float_format="%.6f", lineterminator="\n")


if __name__ == "__main__":
    run(clips, write)
