"""How much of a recording has to be read before a classifier's k-th second is known."""

from pathlib import Path

import numpy as np

from scenes.dataset.tables import SECONDS, read_table
from scenes.stage.errors import InputError

COLUMNS = ["second", "needs"]  # of data/spectrogram/<kind>.needs.csv


def read_needs(path: Path) -> np.ndarray:
    """Seconds that the patches of a spectrogram need, `[10]`, as its stage wrote them.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    table = read_table(path, COLUMNS, text=False)
    if list(table["second"]) != list(range(1, SECONDS + 1)):
        raise InputError(f"{path}: must have a row for each of {SECONDS} seconds; run dvc repro spectrogram")
    return table["needs"].to_numpy(float)
