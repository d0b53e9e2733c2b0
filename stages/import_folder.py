"""Turn a folder of one's own recordings, a subfolder a class, into a data set in the layout that the pipeline reads."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import joblib
import pandas as pd
import typer
from tqdm import tqdm

from scenes.cutting import cut_recording
from scenes.recordings import Recording, find_recordings
from scenes.shards import workers
from scenes.stage.cli import run
from scenes.stage.dataset import SETUP_COLUMNS, hold_out, place
from scenes.stage.errors import InputError
from scenes.stage.outputs import writing


def main(
    folder: Annotated[Path, typer.Argument(help="FOLDER/<class>/<location>-<take>.mp4, .mov, .mkv, .wav or .flac")],
    out: Annotated[Path, typer.Argument(help="the data set: folders audio, video and evaluation_setup")],
    by: Annotated[
        Literal["location", "recording"],
        typer.Option(help="what train and evaluate clips never share: a location, or a recording alone"),
    ] = "location",
    evaluate: Annotated[float, typer.Option(help="fraction of each class's to evaluate on", min=0, max=0.9)] = 0.3,
    seed: Annotated[int, typer.Option(help="of that draw", min=0, max=2**32 - 1)] = 0,
    skip_broken: Annotated[bool, typer.Option(help="name what cannot be read and go on, instead of stopping")] = False,
) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already, and not empty; remove it or name another folder")
    if folder.resolve() in [out.resolve(), *out.resolve().parents]:
        raise InputError(f"{out}: is inside {folder}; name a folder elsewhere")
    recordings, ignored = find_recordings(folder, each_alone=by == "recording")
    if ignored:
        what = "are no film or sound, or in no class's folder"
        print(f"warning: {len(ignored)} files {what} (the first: {ignored[0]})", file=sys.stderr)

    unfinished = out.with_name(f"unfinished-{out.name}")  # where an interrupted run goes on
    for name in ("audio", "video", "evaluation_setup", "done"):
        (unfinished / name).mkdir(parents=True, exist_ok=True)
    jobs = (joblib.delayed(_cut)(recording, unfinished, skip_broken) for recording in recordings)
    cut = joblib.Parallel(n_jobs=workers(-1), return_as="generator")(jobs)
    clips = [row for rows in tqdm(cut, "import", len(recordings), unit="recording") for row in rows]
    if not clips:
        raise InputError(f"{folder}: none of its {len(recordings)} recordings can be read")

    table = hold_out(pd.DataFrame(clips).assign(fold="train"), evaluate, seed)
    table["fold"] = table["fold"].replace("validation", "evaluate")
    for scene, rows in table.groupby("scene"):
        if evaluate and rows["fold"].nunique() == 1:
            raise InputError(
                f"{folder}: all of {scene} is of the locations {', '.join(sorted(set(place(rows))))}, which are for "
                f"{rows['fold'].iloc[0]}; name more locations, or give --by recording or another --seed"
            )
    for fold in ("train", "evaluate"):
        with writing(unfinished / "evaluation_setup" / f"fold1_{fold}.csv") as temporary:
            table.loc[table["fold"] == fold, SETUP_COLUMNS].to_csv(temporary, sep="\t", index=False)
    named = {*table["filename_audio"], *table["filename_video"]}
    for path in [*unfinished.glob("audio/*"), *unfinished.glob("video/*")]:
        if str(path.relative_to(unfinished)) not in named:  # of a recording that is not there any more
            path.unlink()
    shutil.rmtree(unfinished / "done")
    unfinished.replace(out)
    _explain(out, table)


def _cut(recording: Recording, folder: Path, skip_broken: bool) -> list[dict[str, str]]:
    try:
        return cut_recording(recording, folder)
    except InputError as error:
        if not skip_broken:
            raise InputError(f"{error}; or give --skip-broken") from error
        print(f"warning: left out: {error}", file=sys.stderr)
        return []


def _explain(out: Path, table: pd.DataFrame) -> None:
    """Print what was made, and the lines that name it in params.yaml."""
    for (scene, fold), rows in table.groupby(["scene", "fold"]):
        print(f"{scene}, {fold}: {len(rows)} clips of {place(rows).nunique()} locations")
    print("\ndataset:")
    for key, name in (("audio", "audio"), ("video", "video"), ("setup", "evaluation_setup")):
        print(f"  {key}: {(out / name).resolve()}")
    print("  missing: error\n  classes: # class:meta-class")
    for scene in sorted(set(table["scene"])):
        print(f"    - {scene}:{scene}")


if __name__ == "__main__":
    run(main)
