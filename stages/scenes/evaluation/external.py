"""Predictions of another system, read from a table or a `.npy` array and checked.

A table has DCASE's columns, separated by tabs or commas: `filename`, one column per class and, optionally,
`scene_label`, which is not used, and `second`. Probabilities of a whole clip are those of each of its seconds.
"""

from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS, read_table
from scenes.evaluation.predictions import TOLERANCE
from scenes.stage.errors import InputError

OPTIONAL = ["scene_label", "second"]


def read_external(path: Path, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Read the probabilities of the clips that are not in the training set.

    Parameters
    ----------
    path : Path
        A `.npy` array `[clips, classes]` or `[clips, 10, classes]`: those clips in the order of split.csv, the classes
        in the order of classes.csv, a clip without prediction NaN throughout. Any other file is a table with one row
        per clip, or per second if it has a column `second` (0 to 9), in any order. Rows of other clips are ignored.
    split, classes : DataFrame
        As read by `scenes.dataset.tables`.

    Returns
    -------
    ndarray
        float32 `[clips not in train, 10, classes]`. Each row of the last axis sums to 1.

    Raises
    ------
    InputError
        If the file is neither; if a clip, second or class is missing, given twice or unknown; or if a row is not made
        of probabilities that sum to 1, within 0.01.
    """
    clips = split[split["fold"] != "train"].reset_index(drop=True)
    names, is_array = list(classes["class"]), path.suffix.lower() == ".npy"
    array = (_read_array if is_array else _read_table)(path, clips, names)
    absent = np.isnan(array).all(axis=(1, 2)) & is_array
    wrong = ~(np.isfinite(array) & (array >= 0)).all(axis=(1, 2)) & ~absent
    if wrong.any():
        raise InputError(f"{path}: {_first(clips, wrong)}: a probability is negative or not a finite number; write "
                         "probabilities from 0 to 1, not logits or logarithms")  # fmt: skip
    sums = array.sum(axis=2, keepdims=True)
    wrong = (np.abs(sums - 1) > TOLERANCE).any(axis=(1, 2))
    if wrong.any():
        total = max(sums[wrong][0].flat, key=lambda total: abs(total - 1))
        raise InputError(f"{path}: {_first(clips, wrong)}: the probabilities sum to {total:.4g}, not to 1; divide each "
                         "row by its sum")  # fmt: skip
    return np.repeat(array / sums, SECONDS // array.shape[1], axis=1).astype(np.float32)


def _read_array(path: Path, clips: pd.DataFrame, names: list[str]) -> np.ndarray:
    """float64 `[clips, 1 or 10, classes]`."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # which refuses pickles
    except ValueError as error:
        raise InputError(f"{path}: not a whole .npy array of numbers ({error}); write it by np.save") from error
    shapes = [(len(clips), len(names)), (len(clips), SECONDS, len(names))]
    if array.shape not in shapes or array.dtype.kind not in "fiu":
        raise InputError(f"{path}: {array.dtype} {array.shape}, expected numbers {shapes[0]} or {shapes[1]}; write the "
                         "clips of split.csv that are not in train, in its order")  # fmt: skip
    return array.astype(np.float64).reshape(len(clips), -1, len(names))


def _read_table(path: Path, clips: pd.DataFrame, names: list[str]) -> np.ndarray:
    """float64 `[clips, 1 or 10, classes]`, NaN where a field is not a number."""
    with path.open("rb") as file:
        sep = "\t" if b"\t" in file.readline() else ","
    table = read_table(path, ["filename"], sep=sep, more=True).rename(columns=str.strip)
    columns = (
        f"the columns, separated by commas or tabs, are filename, {', '.join(names)}; {' and '.join(OPTIONAL)} are "
        "optional"
    )
    for name in names:
        if name not in table:
            raise InputError(f"{path}: no column for the class {name}; {columns}")
    for name in table:
        if name not in ("filename", *OPTIONAL, *names):
            raise InputError(f"{path}: the column {name!r} is not a class of dataset.classes; {columns}")

    known = set(clips["clip"])
    files = table["filename"].map(PureWindowsPath)  # in folders, with / or \
    stems = [file.name if file.name in known else file.stem for file in files]
    seconds = list(map(str, range(SECONDS))) if "second" in table else [""]
    table.index = pd.MultiIndex.from_arrays([stems, table["second"] if "second" in table else seconds * len(table)])
    table = table[table.index.isin(known, level=0)]
    missing = ~clips["clip"].isin(table.index.get_level_values(0)).to_numpy()
    if missing.any():
        fold = clips["fold"][missing].iloc[0]
        raise InputError(f"{path}: {_first(clips, missing)}: missing, {fold} fold; add every "
                         "clip of split.csv that is not in train")  # fmt: skip
    wanted = pd.MultiIndex.from_product([clips["clip"], seconds])
    for fault, pairs in (
        ("not a whole number from 0 to 9", table.index[~table.index.isin(seconds, level=1)]),
        ("given twice", table.index[table.index.duplicated()]),
        ("missing", wanted[~wanted.isin(table.index)]),
    ):
        if len(pairs):
            which = " second ".join(filter(None, pairs[0]))
            raise InputError(f"{path}: {which}: {fault}; give one row per clip, or ten with second 0 to 9")
    numbers = table.loc[wanted, names].apply(pd.to_numeric, errors="coerce")
    return numbers.to_numpy(np.float64).reshape(len(clips), len(seconds), len(names))


def _first(clips: pd.DataFrame, wrong: np.ndarray) -> str:
    """The first clip that is wrong, and how many others are: `park-oslo-1-1 and 2 more`."""
    return clips["clip"][wrong].iloc[0] + (f" and {wrong.sum() - 1} more" if wrong.sum() > 1 else "")
