"""Mapping work over clips: in shards, over all cores, with a progress bar, going on after a kill."""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from scenes.errors import MediaWarning
from scenes.outputs import writing
from scenes.resume import finish, resume_folder

SHARD = 8


def map_clips(
    function: Callable[[str], np.ndarray], media: list[str], shape: tuple[int, ...], dtype: str, output: Path
) -> None:
    """Write `function(path)` of every clip as one row of the array `output`.

    Shards of clips go through joblib, whose backend and number of workers are those of the environment variables
    `SCENES_BACKEND` (default loky) and `SCENES_WORKERS` (default all cores). Finished shards survive a kill.

    Parameters
    ----------
    function : callable
        From a media file's path to an array of `shape`; must be picklable.
    media : list of str
        One path a clip; the row of an empty path stays zero.
    shape : tuple of int
        Shape of one clip's array.
    dtype : str
        Type of the array on disk.
    output : Path
        The `.npy` file, `[clips, *shape]`.
    """
    folder = resume_folder(output, [Path(path) for path in media if path])
    partial, done = folder / "array.npy", folder / "done"
    if not done.exists():
        np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=(len(media), *shape))
        done.touch()
    array = np.lib.format.open_memmap(partial, mode="r+")
    finished = {int(line) for line in done.read_text().split()}
    starts = [start for start in range(0, len(media), SHARD) if start not in finished]
    results = joblib.Parallel(
        n_jobs=int(os.environ.get("SCENES_WORKERS", "-1")),
        backend=os.environ.get("SCENES_BACKEND", "loky"),
        return_as="generator_unordered",
    )(joblib.delayed(_shard)(function, start, media[start : start + SHARD]) for start in starts)
    messages: Counter[str] = Counter()
    first: dict[str, str] = {}
    initial = len(media) - sum(len(media[start : start + SHARD]) for start in starts)
    with tqdm(total=len(media), initial=initial, desc=output.stem, unit="clip") as bar:
        for start, rows, notes in results:
            for offset, row in rows.items():
                array[start + offset] = row
            array.flush()
            with done.open("a") as file:
                file.write(f"{start}\n")
            for path, message in notes:
                messages[message] += 1
                first.setdefault(message, path)
            bar.update(len(media[start : start + SHARD]))
    for message, count in messages.items():
        print(f"warning: {count} clips: {message} (the first: {first[message]})", file=sys.stderr)
    del array
    with writing(output) as temporary:
        partial.replace(temporary)
    finish(folder)


def _shard(function: Callable[[str], np.ndarray], start: int, media: list[str]) -> tuple[int, dict, list]:
    rows, notes = {}, []
    for offset, path in enumerate(media):
        if path:
            # One thread a worker: the last digits must not depend on how many workers share the cores.
            with threadpool_limits(limits=1), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", MediaWarning)
                rows[offset] = function(path)
            notes += [(path, str(warning.message)) for warning in caught if warning.category is MediaWarning]
    return start, rows, notes
