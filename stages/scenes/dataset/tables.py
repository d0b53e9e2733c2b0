"""The table of clips: read from a data set's setup files, written once as split.csv, read by every stage.

A clip is named `<scene>-<city>-<location>-<segment>`, as in TAU Urban Audio-Visual Scenes 2021. A location is one
place in one city: folds never share one, and whatever resamples clips must resample whole locations.
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from scenes.stage.errors import InputError

SECONDS = 10
FOLDS = ("train", "validation", "evaluate")
SETUP_COLUMNS = ["filename_audio", "filename_video", "scene_label"]
SPLIT_COLUMNS = ["clip", "scene", "city", "location", "fold", "audio", "video"]
CLASS_COLUMNS = ["class", "meta_class"]


def parse_classes(classes: list[str]) -> pd.DataFrame:
    """Turn `["airport:indoor", ...]` into a table `class,meta_class`; its order is that of every class axis.

    Raises
    ------
    InputError
        If an entry is not `class:meta-class` or a class is named twice.
    """
    pairs = [entry.split(":") for entry in classes]
    for entry, pair in zip(classes, pairs, strict=True):
        if len(pair) != 2 or not all(pair):
            raise InputError(f"dataset.classes: {entry!r} is not of the form class:meta-class, such as airport:indoor")
    table = pd.DataFrame(pairs, columns=CLASS_COLUMNS)
    if table["class"].duplicated().any():
        raise InputError(f"dataset.classes: {table['class'][table['class'].duplicated()].iloc[0]} is named twice")
    return table


def read_setup(folder: Path, classes: pd.DataFrame) -> pd.DataFrame:
    """Read the official setup files `fold1_train.csv` and `fold1_evaluate.csv` (tab-separated).

    Parameters
    ----------
    folder : Path
        The folder `evaluation_setup` of the data set.
    classes : DataFrame
        As made by `parse_classes`.

    Returns
    -------
    DataFrame
        Columns `clip, scene, city, location, fold, audio, video`, sorted by clip; fold is train or evaluate, audio and
        video are bare file names or empty.

    Raises
    ------
    InputError
        For wrong columns, an unknown class, a name that is not of the form above, or a clip that is listed twice.
    """
    table = pd.concat([_read_setup_file(folder / f"fold1_{fold}.csv", fold) for fold in ("train", "evaluate")])
    unknown = table[~table["scene"].isin(classes["class"])]
    if len(unknown):
        first = unknown.iloc[0]
        raise InputError(f"{first['file']}: class {first['scene']!r} of {first['clip']} is not in dataset.classes")
    twice = table[table["clip"].duplicated()]
    if len(twice):
        first = twice.iloc[0]
        folds = " and ".join(sorted(set(table.loc[table["clip"] == first["clip"], "fold"])))
        raise InputError(
            f"{first['file']}: {len(twice)} clips are listed twice, the first is {first['clip']} ({folds})"
        )
    return table[SPLIT_COLUMNS].sort_values("clip", ignore_index=True)


def _read_setup_file(path: Path, fold: str) -> pd.DataFrame:
    setup = read_table(path, SETUP_COLUMNS, sep="\t")
    odd = setup[setup.map(lambda field: not field.isprintable()).any(axis=1)]
    if len(odd):
        raise InputError(f"{path}: line {odd.index[0] + 2} holds characters that no name has: {odd.iloc[0].tolist()}")
    audio, video = (setup[column].map(lambda name: Path(name).name) for column in SETUP_COLUMNS[:2])
    clip = audio.where(audio != "", video).map(lambda name: Path(name).stem)
    # From the right, so that a class of one's own may have a hyphen in its name.
    parts = clip.str.rsplit("-", n=3, expand=True).reindex(columns=range(4))
    wrong = clip[parts.isna().any(axis=1)]
    if len(wrong):
        raise InputError(f"{path}: {wrong.iloc[0]!r} is not named <scene>-<city>-<location>-<segment>")
    return pd.DataFrame(
        {"clip": clip, "scene": setup["scene_label"], "city": parts[1], "location": parts[2], "fold": fold}
    ).assign(audio=audio, video=video, file=str(path))


def read_table(
    path: Path, columns: list[str], *, text: bool = True, sep: str = ",", more: bool = False
) -> pd.DataFrame:
    """Read a table that has these columns, and with `more` perhaps others, as text (empty where a field is) or numbers.

    Raises
    ------
    InputError
        If it is not a table, or has other columns.
    """
    kind = "a tab-separated table" if sep == "\t" else "a table"
    as_text = {"dtype": str, "keep_default_na": False} if text else {}
    try:
        with warnings.catch_warnings(
            action="error", category=pd.errors.ParserWarning
        ):  # of rows longer than the header
            table = pd.read_csv(path, sep=sep, index_col=False, **as_text)
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are of the first kind
        raise InputError(f"{path}: not {kind} ({' '.join(str(error).split())})") from error
    found = " ".join(", ".join(table.columns).split())
    lacking = [column for column in columns if column not in table]
    if more and lacking:
        raise InputError(f"{path}: {kind} without the column {lacking[0]}, with {found}")
    if not more and list(table.columns) != columns:
        raise InputError(f"{path}: the columns of {kind} must be {', '.join(columns)}, found {found}")
    return table


def place(table: pd.DataFrame) -> pd.Series:
    """The place of each clip, `<city>-<location>`: what folds must not share."""
    return table["city"] + "-" + table["location"]


def hold_out(table: pd.DataFrame, fraction: float, seed: int) -> pd.DataFrame:
    """Move `fraction` of each class's train locations, whole and at least one, to the validation fold.

    No class is left without a train location; a location of several classes is held out of all of them. `fraction` 0
    leaves the table as it is (the paper's protocol).
    """
    train = table[table["fold"] == "train"]
    generator = np.random.default_rng(seed)
    places = {scene: set(place(clips)) for scene, clips in train.groupby("scene")}
    held: set[str] = set()
    for own in places.values():
        count = max(1, round(fraction * len(own))) if fraction else 0
        # First those that are held out of another class already; never the last of any class.
        for name in sorted(generator.permutation(sorted(own)), key=lambda name: name not in held):
            if len(own & held) < count and all(others - held - {name} for others in places.values()):
                held.add(name)
    validation = (table["fold"] == "train") & place(table).isin(held)
    return table.assign(fold=table["fold"].mask(validation, "validation"))


def read_split(path: Path) -> pd.DataFrame:
    """Read `data/split.csv`: one row a clip, all columns text, empty where a clip lacks the file.

    Raises
    ------
    InputError
        If the columns are not those of the contract.
    """
    return read_table(path, SPLIT_COLUMNS)


def read_media(path: Path, column: str) -> list[str]:
    """Read the column `audio` or `video` of `data/media.csv` or `data/split.csv`: a path a clip, or empty.

    Raises
    ------
    InputError
        If there is no such column.
    """
    return list(read_table(path, [column], more=True)[column])


def train_rows(path: Path, column: str) -> np.ndarray:
    """Numbers of the rows of `data/media.csv` that are train clips and have the file of `column`, int `[n]`.

    An untrained network takes batch norm's averages from these clips: no evaluate clip has a part in them. Clips that
    are held out for validation count as train clips, so that embeddings do not depend on which ones are.

    Raises
    ------
    InputError
        If there is no such column, or no such clip.
    """
    table = read_table(path, [column, "fold"], more=True)
    rows = np.flatnonzero((table["fold"] != "evaluate") & (table[column] != ""))
    if not len(rows):
        raise InputError(f"{path}: no train clip has {column}; an untrained network needs some for its batch norm")
    return rows


def read_classes(path: Path) -> pd.DataFrame:
    """Read `data/classes.csv`, columns `class,meta_class`, in the order of every class axis."""
    return read_table(path, CLASS_COLUMNS)


def labels(split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Class number of each clip, int `[clips]`; -1 where the class is not known."""
    return pd.Index(classes["class"]).get_indexer(split["scene"])


def known_labels(split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Class number of each clip, int `[clips]`.

    Raises
    ------
    InputError
        If the class of a clip is not known.
    """
    numbers = labels(split, classes)
    if (numbers < 0).any():
        first = split[numbers < 0].iloc[0]
        raise InputError(f"class {first['scene']!r} of {first['clip']} is not among {', '.join(classes['class'])}")
    return numbers


def open_array(path: Path) -> np.ndarray:
    """Memory-map an array.

    Raises
    ------
    InputError
        If the file is not a whole `.npy` array.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a whole .npy array ({error}); remove it and run its stage again") from error


class Rows:
    """A `.npy` array with one row a clip, mapped into memory anew for every use.

    What has been read of a mapping counts as the process's memory for as long as the mapping stands: of frames, 40 GB.

    Parameters
    ----------
    path : Path
        The array's file.
    """

    def __init__(self, path: Path) -> None:
        array = open_array(path)
        self.path, self.shape, self.dtype = path, array.shape, array.dtype

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return open_array(self.path)

    def __getitem__(self, index) -> np.ndarray:
        return open_array(self.path)[index]


def open_rows(path: Path, split: pd.DataFrame) -> Rows:
    """Open an array that has one row a clip of `split`.

    Raises
    ------
    InputError
        If the file is not such an array.
    """
    rows = Rows(path)
    if rows.shape[0] != len(split):
        raise InputError(f"{path}: {rows.shape[0]} rows for {len(split)} clips; run its stage again")
    return rows
