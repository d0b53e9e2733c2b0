"""Read the setup files of a data set, look for its media, hold out validation locations: the table of clips."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from scenes.dataset.tables import FOLDS, hold_out, parse_classes, place, read_setup
from scenes.media.clip import has_sound
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.options import Seed
from scenes.stage.outputs import write_csv, write_json

TAU_CLASSES = [
    "airport:indoor", "bus:transportation", "metro:transportation", "metro_station:indoor", "park:outdoor",
    "public_square:outdoor", "shopping_mall:indoor", "street_pedestrian:outdoor", "street_traffic:outdoor",
    "tram:transportation",
]  # fmt: skip


def main(
    out: Path,
    media: Annotated[Path, typer.Argument(help="table of the clips' files, the same whatever locations are held out")],
    out_classes: Path,
    metrics: Path,
    audio: Annotated[Path, typer.Option(help="folder of the wav files")],
    video: Annotated[Path, typer.Option(help="folder of the mp4 files")],
    setup: Annotated[Path, typer.Option(help="folder of fold1_train.csv and fold1_evaluate.csv")],
    classes: Annotated[
        list[str], typer.Option(help="class:meta-class, in the order of every class axis")
    ] = TAU_CLASSES,
    missing: Annotated[
        Literal["error", "skip", "ignore"],
        typer.Option(help="stop at a missing file; or keep clips that have one modality; or do not look at media"),
    ] = "error",
    validation: Annotated[
        float, typer.Option(help="part of each class's train locations to hold out", min=0.0, max=0.9)
    ] = 0.0,
    seed: Seed = 0,
) -> None:
    table_of_classes = parse_classes(classes)
    clips = read_setup(setup, table_of_classes)
    for column, folder in (("audio", audio), ("video", video)):
        clips[column] = clips[column].map(lambda name, folder=folder: str(folder / name) if name else "")
    if missing != "ignore":
        named = [*clips["audio"], *clips["video"]]
        absent = {path for path in named if path and not Path(path).is_file()}
        if absent and missing == "error":
            first = next(path for path in named if path in absent)
            raise InputError(
                f"{first}: missing, the first of {len(absent)} missing files that {setup} names; "
                "restore them, or set dataset.missing to skip"
            )
        clips[["audio", "video"]] = clips[["audio", "video"]].mask(clips[["audio", "video"]].isin(absent), "")
        silent = clips["audio"] == ""
        clips.loc[silent, "audio"] = clips.loc[silent, "video"].map(
            lambda path: path if path and has_sound(path) else ""
        )
        neither = (clips["audio"] == "") & (clips["video"] == "")
        if neither.any():
            _say(f"{neither.sum()} of {len(clips)} clips have neither sound nor pictures")
        clips = clips[~neither]
    if clips.empty:
        raise InputError(f"{setup}: no clip of it is in {audio} or {video}")
    _warn(clips, list(table_of_classes["class"]))
    write_csv(media, clips[["clip", "audio", "video", "fold"]])
    clips = hold_out(clips, validation, seed)

    folds = clips.groupby("fold")
    write_csv(out, clips)
    write_csv(out_classes, table_of_classes)
    write_json(
        metrics,
        {
            "clips": len(clips),
            "with_audio": int((clips["audio"] != "").sum()),
            "with_video": int((clips["video"] != "").sum()),
            **{fold: _counts(clips[clips["fold"] == fold], table_of_classes["class"]) for fold in FOLDS},
            "locations": {fold: int(place(rows).nunique()) for fold, rows in folds},
        },
    )


def _warn(clips: pd.DataFrame, classes: list[str]) -> None:
    """Warn of locations in both folds of the setup files, and of classes without clips, in a fold or at all."""
    places = place(clips)
    shared = places[clips.groupby(places)["fold"].transform("nunique") > 1]
    if len(shared):
        _say(
            f"{len(shared)} clips are of {shared.nunique()} locations with both train and evaluate clips "
            f"(the first: {shared.iloc[0]}); scores will be too optimistic"
        )
    for kind, folds in (("clips", FOLDS), ("train clips", ["train"]), ("evaluate clips", ["evaluate"])):
        found = set(clips.loc[clips["fold"].isin(folds), "scene"])
        lacking = [name for name in classes if name not in found]
        if lacking:
            _say(f"no {kind} of {', '.join(lacking)}")
        classes = [name for name in classes if name in found]


def _say(warning: str) -> None:
    print(f"warning: {warning}", file=sys.stderr)


def _counts(clips, classes) -> dict[str, int]:
    counts = clips["scene"].value_counts()
    return {"clips": len(clips), **{name: int(counts.get(name, 0)) for name in classes}}


if __name__ == "__main__":
    run(main)
