"""Reading the predictions of classifiers and ensembles, and naming their classifiers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS, open_array
from scenes.stage.errors import InputError

TOLERANCE = 0.01  # of a sum of probabilities: bfloat16 has three digits
UNITS = ("second", "clip", "timestamps")  # of audio embeddings; all but the first hear the whole clip


def read_predictions(path: Path, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Read float32 `[clips not in train, 10, classes]`, NaN for a clip without the modality.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    return _read(path, (int((split["fold"] != "train").sum()), SECONDS, len(classes)), "predict")


def read_frames(path: Path, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Read predictions of the DCASE baseline, float32 `[clips not in train, T, classes]`, NaN as above.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    shape = open_array(path).shape
    frames = shape[1] if len(shape) == 3 else SECONDS
    return _read(path, (int((split["fold"] != "train").sum()), frames, len(classes)), "predict")


def read_fused(path: Path, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Read float32 `[clips not in train, classes]`, NaN for a clip of which no member knows.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    return _read(path, (int((split["fold"] != "train").sum()), len(classes)), "fuse")


def read_disturbed(path: Path, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Read predictions of disturbed clips, float32 `[conditions, evaluate clips, seconds, classes]`, NaN as above.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    return _read(path, shape, "predict-robustness")


def rows_of(fold: str, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Which rows of a prediction file are clips of `fold` whose class is known, bool `[clips not in train]`."""
    clips = split[split["fold"] != "train"]
    return ((clips["fold"] == fold) & clips["scene"].isin(classes["class"])).to_numpy()


def with_families(members: list[str]) -> list[str]:
    """Name each member with its family: that of the member before it where it names none."""
    names, family = [], ""
    for member in members:
        family = member.rpartition("/")[0] or family
        names.append(f"{family}/{member.rpartition('/')[2]}")
    return names


def without_families(members: list[str]) -> str:
    """Join the names of members by commas, without the family where it is that of the member before it."""
    families = ["", *(member.rpartition("/")[0] for member in members)]
    return ",".join(member.removeprefix(f"{before}/") for before, member in zip(families, members, strict=False))


def units_of(entries: Iterable[str]) -> dict[str, str]:
    """Of each classifier on audio embeddings, their unit, from `family/member,member,...=unit`.

    Raises
    ------
    InputError
        If a unit is not one of `UNITS`.
    """
    units = {}
    for entry in entries:
        members, _, unit = entry.rpartition("=")
        if unit not in UNITS:
            raise InputError(f"--unit {entry}: must be family/member,...= and one of {', '.join(UNITS)}")
        units |= dict.fromkeys(with_families(members.split(",")), unit)
    return units


def _read(path: Path, wanted: tuple[int, ...], stage: str) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: not a whole .npy array ({error}); run its {stage} stage again") from error
    if array.shape != wanted:
        raise InputError(f"{path}: shape {array.shape}, expected {wanted}; run its {stage} stage again")
    total = array.sum(axis=-1)
    if not (np.isnan(array) | (array >= 0)).all() or (np.abs(total - 1) > TOLERANCE).any():
        raise InputError(f"{path}: holds other numbers than probabilities; run its {stage} stage again")
    return array
