"""Reading a classifier's predictions."""

from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset import SECONDS
from scenes.errors import InputError


def read_predictions(path: Path, split: pd.DataFrame, classes: pd.DataFrame) -> np.ndarray:
    """Read float32 `[clips not in train, 10, classes]`, NaN for a clip without the modality.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path}: not a whole .npy array ({error}); run its predict stage again") from error
    wanted = (int((split["fold"] != "train").sum()), SECONDS, len(classes))
    if array.shape != wanted:
        raise InputError(f"{path}: shape {array.shape}, expected {wanted}; run its predict stage again")
    return array
