"""What follows from a rehearsed stage for the whole data set."""

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import pandas as pd
from dvc.stage import Stage

from scenes.dataset.tables import read_split
from scenes.rehearsal.alike import kind
from scenes.reporting import markdown

GIB = 2**30
# Folders of outputs that are as large whatever the number of clips.
OF_ONE_SIZE = ("data/models", "data/history", "data/confusion", "metrics")


@dataclass(frozen=True)
class Measured:
    """A stage's command as it was rehearsed.

    Attributes
    ----------
    seconds : float
        From its start to its end.
    memory, gpu_memory : int or None
        Bytes at the most, see `Meter` and `GPUMemory`.
    unit, units, seconds_each : str or None, int, float or None
        What its progress bar counts, how many there were, the time of each; None without a bar.
    outputs : dict of str to int
        Bytes of each.
    """

    seconds: float
    memory: int
    gpu_memory: int | None
    unit: str | None
    units: int
    seconds_each: float | None
    outputs: dict[str, int]


@dataclass(frozen=True)
class Estimate:
    """The same stage on the whole data set: units of its bar, hours, bytes of its outputs."""

    units: int
    hours: float
    disk: float


def estimate(
    stage: str, whole: str, rehearsed: str, measured: Measured, clips: dict[str, float], handful: dict[str, int]
) -> Estimate:
    """What a stage takes on the whole data set, on the machine that rehearsed it.

    Time grows with the clips, and with the epochs, the seconds of a clip and whatever else the two commands say; that
    of stages without a bar, seconds, is taken as it is. A stage that runs no network shares its clips among all cores,
    but the rehearsal had one process at work.

    Parameters
    ----------
    stage : str
        Its name.
    whole, rehearsed : str
        Its command, with the parameters as they are and as they were rehearsed.
    measured : Measured
        What the latter took.
    clips, handful : dict
        Clips that are trained on, `train`, and all others, `evaluate`, of the whole data set and of the rehearsal.
    """
    if stage.startswith("train-"):
        folds = ["train"]
    elif stage.startswith("predict-") or "strict" in stage or "robustness" in stage:
        folds = ["evaluate"]
    else:
        folds = ["train", "evaluate"]
    of_clips = sum(clips[fold] for fold in folds) / sum(handful[fold] for fold in folds)
    if stage.startswith("train-") and _option(whole, "seconds"):  # only whole batches are trained on
        growth = _steps(whole, clips["train"]) / _steps(rehearsed, handful["train"])
    else:
        growth = of_clips * (_option(whole, "seconds") or 1) / (_option(rehearsed, "seconds") or 1)
    growth *= (_option(whole, "epochs") or 1) / (_option(rehearsed, "epochs") or 1)
    units, each = round(measured.units * growth), measured.seconds_each or 0
    start = measured.seconds - measured.units * each
    workers = 1 if "OMP_NUM_THREADS" in whole else joblib.cpu_count()
    disk = sum(size * (1 if path.startswith(OF_ONE_SIZE) or Path(path).suffix == ".csv" else of_clips)
               for path, size in measured.outputs.items())  # fmt: skip
    return Estimate(units, (start + units * each / workers) / 3600, disk)


def trained_and_other(clips: pd.Series, split: dict[str, float]) -> dict[str, float]:
    """Of the clips in the setup files' two folds, those that are trained on and, as `evaluate`, the others."""
    held_out = split["validation"] * clips["train"]
    return {"train": clips["train"] - held_out, "evaluate": clips["evaluate"] + held_out}


def _option(command: str, name: str) -> float | None:
    found = re.search(rf"--{name}[ =]([\d.]+)", command)
    return float(found[1]) if found else None


def _steps(command: str, clips: int) -> int:
    """Steps of an epoch, at least one: of a batch, if there are fewer samples."""
    return max(1, int(clips * _option(command, "seconds") // _option(command, "batch")))


def estimates(
    stages: list[Stage],
    full: dict[str, str],
    record: dict[str, Measured],
    twins: dict[str, Stage],
    clips: dict[str, float],
    split: Path,
) -> pd.DataFrame:
    """A row for each stage that was measured, with those that are like it.

    Parameters
    ----------
    stages : list of Stage
        As they were rehearsed.
    full : dict
        Of each stage's name, its command with the parameters as they are.
    record : dict
        Of each kind of stage, what it took.
    twins : dict
        As `scenes.rehearsal.alike.alike`.
    clips
        As for `estimate`.
    split : Path
        The table of the clips that were rehearsed.

    Returns
    -------
    DataFrame
        Empty if not even the split was made, else columns `stage,stages`, those of `Measured`, and
        `whole_units,hours,disk`, an `Estimate` for all that are alike.
    """
    alike = Counter(stage.addressing for stage in twins.values())
    if not split.exists():
        return pd.DataFrame()
    trained = read_split(split)["fold"] == "train"
    handful = {"train": trained.sum(), "evaluate": (~trained).sum()}
    rows = []
    for stage in stages:
        address, measured = stage.addressing, record.get(kind(stage))
        if address not in twins and measured:
            name, count = address.rpartition(":")[2], 1 + alike[address]
            whole = estimate(name, full[address], stage.cmd, measured, clips, handful)
            rows.append({
                "stage": name, "stages": count, **asdict(measured), "whole_units": count * whole.units,
                "hours": count * whole.hours, "disk": count * whole.disk,
            })  # fmt: skip
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> str:
    """The rows of `estimates` as Markdown."""
    header = ["stage", "memory, GiB", "of the GPU", "seconds for one", "whole data set", "hours", "GB on disk"]
    return markdown.table(header, (
        [
            row.stage + (f" and {row.stages - 1} like it" if row.stages > 1 else ""),
            f"{row.memory / GIB:.1f}",
            "-" if pd.isna(row.gpu_memory) else f"{row.gpu_memory / GIB:.1f}",
            "" if pd.isna(row.seconds_each) else f"{row.seconds_each:.2g} (a {row.unit})",
            "" if pd.isna(row.seconds_each) else f"{row.whole_units:,}",
            f"{row.hours:,.1f}" if row.hours >= 0.1 else "< 0.1",
            f"{row.disk / 1e9:.1f}" if row.disk >= 1e8 else "< 0.1",
        ]
        for row in rows.itertuples()
    ))  # fmt: skip
