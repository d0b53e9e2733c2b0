"""Convert a folder of recordings, one subfolder per class, into a data set in the layout that the pipeline reads."""

import os
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import joblib
import pandas as pd
import typer
from tqdm import tqdm

from scenes.dataset.shards import named_kill, workers
from scenes.dataset.tables import SETUP_COLUMNS, hold_out, place
from scenes.media.cutting import Cut, cut_recording
from scenes.media.recordings import Recording, find_recordings
from scenes.stage.cli import leave_signals, run, stop_if_asked
from scenes.stage.errors import InputError, OutputError, one_line
from scenes.stage.outputs import write_csv, writing

UNFINISHED = "unfinished-import"  # in the target, so that a target may also be a link or a disk: from it a run goes on
MADE = ("audio", "video", "import.csv", "evaluation_setup")  # in the order in which they are moved out of it
OF_A_DISK = {"lost+found", "System Volume Information", "$RECYCLE.BIN"}
WARNINGS = 10  # kinds of them that are printed


def main(
    folder: Annotated[Path, typer.Argument(help="FOLDER/<class>/<location>-<take>.mp4, .wav or another media file")],
    out: Annotated[Path, typer.Argument(help="output: audio, video, evaluation_setup and import.csv")],
    by: Annotated[
        Literal["location", "recording"],
        typer.Option(help="what training and evaluation clips never share"),
    ] = "location",
    evaluate: Annotated[float, typer.Option(help="fraction of them, per class, to evaluate on", min=0, max=0.9)] = 0.3,
    seed: Annotated[int, typer.Option(help="seed of the random split", min=0, max=2**32 - 1)] = 0,
    skip_broken: Annotated[bool, typer.Option(help="skip files that cannot be read instead of stopping")] = False,
) -> None:
    target = _target(folder, out)
    recordings, found = find_recordings(folder, each_alone=by == "recording")
    if found.left_out:
        print(f"warning: left out: {one_line(found.told())}", file=sys.stderr)
    _split(pd.DataFrame(recordings), evaluate, seed, folder)  # to say so before the cutting if it is impossible
    unfinished = _begin(target)

    cuts = _cut_all(recordings, unfinished, skip_broken)
    clips = [row for cut in cuts for row in cut.clips]
    if not clips:
        reason = cuts[0].files[0]["warnings"][0]
        raise InputError(f"{folder}: none of the {len(recordings)} recordings can be read; first: {reason}")
    table = _split(pd.DataFrame(clips), evaluate, seed, folder)
    for fold in ("train", "evaluate"):
        with writing(unfinished / "evaluation_setup" / f"fold1_{fold}.csv") as temporary:
            table.loc[table["fold"] == fold, SETUP_COLUMNS].to_csv(temporary, sep="\t", index=False)
    files = pd.DataFrame([row for cut in cuts for row in cut.files])
    write_csv(unfinished / "import.csv", files.assign(warnings=files["warnings"].map("; ".join)))
    named = {*table["filename_audio"], *table["filename_video"]}
    for path in [*unfinished.glob("audio/*"), *unfinished.glob("video/*")]:
        if str(path.relative_to(unfinished)) not in named:  # of a recording that is not there any more
            path.unlink()
    for name in MADE:
        (unfinished / name).replace(target / name)
    shutil.rmtree(unfinished)
    _explain(out, files, table)


def _split(table: pd.DataFrame, evaluate: float, seed: int, folder: Path) -> pd.DataFrame:
    """Draw the folds of a table with the columns `scene, city, location`, by these alone."""
    table = hold_out(table.assign(fold="train"), evaluate, seed)
    table["fold"] = table["fold"].replace("validation", "evaluate")
    for scene, rows in table.groupby("scene"):
        if evaluate and rows["fold"].nunique() == 1:
            raise InputError(
                f"{folder}: class {scene} has only {rows['fold'].iloc[0]} clips (locations: "
                f"{', '.join(sorted(set(place(rows))))}); add locations, or pass --by recording or another --seed"
            )
    return table


def _target(folder: Path, out: Path) -> Path:
    """The data set's real folder, which must be empty but for what belongs to a disk or to an interrupted run."""
    target = Path(os.path.realpath(out))
    if folder.resolve() in [target, *target.parents]:
        raise InputError(f"{out}: is inside {folder}; choose a folder outside it")
    if os.path.lexists(target) and not target.is_dir():
        raise InputError(f"{out}: already exists and is not a folder; choose another path")
    ours = {UNFINISHED, *MADE} if (target / UNFINISHED).is_dir() else set()
    present = {path.name for path in target.iterdir()} if target.exists() else set()
    if any(name[0] != "." for name in present - ours - OF_A_DISK):
        raise InputError(f"{out}: already exists and is not empty; remove it or choose another folder")
    return target


def _begin(target: Path) -> Path:
    """Make the folder to work in, or take it up from an interrupted run."""
    unfinished = target / UNFINISHED
    for name in MADE:
        if unfinished.exists() and (target / name).exists():  # that run ended while it moved them
            (target / name).replace(unfinished / name)
    for name in ("audio", "video", "evaluation_setup", "done"):
        (unfinished / name).mkdir(parents=True, exist_ok=True)
    return unfinished


def _cut_all(recordings: list[Recording], folder: Path, skip_broken: bool) -> list[Cut]:
    """Cut them side by side; the results are in their order."""
    sizes = [sum(path.stat().st_size for path in recording.files) for recording in recordings]
    cuts: dict[int, Cut] = {}
    results = joblib.Parallel(
        n_jobs=workers(-1), batch_size=1, return_as="generator_unordered", initializer=leave_signals
    )(joblib.delayed(_cut)(index, recording, folder, skip_broken) for index, recording in enumerate(recordings))
    with tqdm(total=sum(sizes), desc="import", unit="B", unit_scale=True) as bar, closing(results), named_kill():
        for index, cut in results:
            cuts[index] = cut
            if not cut.clips:
                tqdm.write(f"warning: skipped: {cut.files[0]['warnings'][0]}", sys.stderr)
            bar.update(sizes[index])
            stop_if_asked()
    return [cuts[index] for index in range(len(recordings))]


def _cut(index: int, recording: Recording, folder: Path, skip_broken: bool) -> tuple[int, Cut]:
    try:
        return index, cut_recording(recording, folder)
    except OutputError:
        raise
    except Exception as error:  # whatever a file does to the libraries that read it
        line = one_line(error if isinstance(error, InputError) else f"cannot be read ({type(error).__name__}: {error})")
        names = [one_line(path) for path in recording.files]
        if not any(name in line for name in names):
            line = f"{names[0]}: {line}"
        if not skip_broken:
            raise InputError(f"{line}; or pass --skip-broken") from error
        return index, Cut([], [{"file": name, "outcome": "refused", "warnings": [line]} for name in names])


def _explain(out: Path, files: pd.DataFrame, table: pd.DataFrame) -> None:
    """Print what was made, and the lines that name it in params.yaml."""
    warned = files[(files["outcome"] == "imported") & files["warnings"].map(bool)]
    by_message = warned.explode("warnings").groupby("warnings")["file"].agg(["size", "first"])
    for message, (count, first) in by_message.nlargest(WARNINGS, "size").iterrows():
        print(f"warning: {count} files: {message} (first: {first})", file=sys.stderr)
    counts = files["outcome"].value_counts()
    print(
        f"{counts['imported']} files imported, {counts.get('refused', 0)} refused, {len(warned)} with warnings; "
        f"see {out / 'import.csv'}"
    )
    for (scene, fold), rows in table.groupby(["scene", "fold"]):
        print(f"{scene}, {fold}: {len(rows)} clips, {place(rows).nunique()} locations")
    print("\ndataset:")
    for key, name in (("audio", "audio"), ("video", "video"), ("setup", "evaluation_setup")):
        print(f"  {key}: {(out / name).resolve()}")
    print("  missing: error\n  classes: # class:meta-class")
    for scene in sorted(set(table["scene"])):
        print(f"    - {scene}:{scene}")


if __name__ == "__main__":
    run(main)
