"""How much of a recording has to be read before a classifier's k-th second is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scenes.stage.dataset import SECONDS, read_table
from scenes.stage.errors import InputError

COLUMNS = ["second", "needs"]  # of data/spectrogram/<kind>.needs.csv


def seconds_needed(classifier: str, unit: str, of_patches: Callable[[str], np.ndarray]) -> np.ndarray:
    """Seconds of the recording that a classifier's k-th second needs, `[10]`, ten at most.

    Parameters
    ----------
    classifier : str
        `family/member`.
    unit : str
        Of audio embeddings: `second`, or `clip`, which need the whole clip.
    of_patches : callable
        From a kind of spectrogram to the seconds that its patches need, `[10]`, as by `patch_needs`.
    """
    family, _, member = classifier.partition("/")
    seconds = np.arange(1.0, SECONDS + 1)  # a frame, or a second of sound, when that second is over
    if family == "audio_spectrogram":
        seconds = of_patches(member)
    elif family == "audio_visual":
        seconds = np.maximum(seconds, of_patches("mel"))
    elif family == "audio_embedding" and unit == "clip":
        seconds = np.full(SECONDS, float(SECONDS))
    return np.minimum(seconds, SECONDS)


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
