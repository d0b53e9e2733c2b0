"""Writing results: under a temporary name first, moved into place when whole."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scenes.stage.errors import OutputError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of a failed write which file it was, and how much room there is.

    Raises
    ------
    OutputError
        For whatever the writing libraries raise when the disk is full: many do not say of which file.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB are free there"
        raise OutputError(f"{path}: cannot be written ({reason}); {free}") from error


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; move what was written there into place, or remove it after an error."""
    temporary = path.with_name(f"unfinished-{path.name}")
    with naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON; a number that is not defined (NaN) becomes null."""
    defined = {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in content.items()}
    with writing(path) as temporary:
        temporary.write_text(json.dumps(defined, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV without its index."""
    with writing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def write_array(path: Path, array: np.ndarray) -> None:
    """Write `array` as a `.npy` file that `np.load(path, mmap_mode="r")` reads."""
    with writing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def allocate_array(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Make a `.npy` file of zeros, for filling in place, and take its room on the disk at once.

    Without that, a disk that fills up later would end the process by a signal (SIGBUS) and without a word.
    """
    with writing(path) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
