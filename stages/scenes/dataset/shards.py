"""Mapping work over clips: in shards, over all cores, with a progress bar, going on after a kill."""

import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from scenes.dataset.tables import open_array
from scenes.stage.cli import leave_signals, stop_if_asked
from scenes.stage.errors import InputError, MediaWarning
from scenes.stage.outputs import allocate_array, naming, writing
from scenes.stage.resume import finish, resume_folder

SHARD = 8
SHARDS_A_WORKER = 8
BACKENDS = ("loky", "multiprocessing", "threading", "sequential")


def map_clips(
    read: Callable[[Any], np.ndarray],
    clips: list,
    shape: tuple[int, ...],
    dtype: str,
    output: Path,
    inputs: list[Path],
    network: Callable[[np.ndarray], np.ndarray] | None = None,
    fill: float = 0,
) -> None:
    """Write one row of the array `output` for every clip: `read(clip)`, or what `network` makes of it.

    Shards of clips go through joblib, whose backend and number of workers are those of the environment variables
    `SCENES_BACKEND` (default loky) and `SCENES_WORKERS` (default all cores, fewer for few clips, because starting a
    worker takes as long as hundreds of clips; one with a network, which uses all cores or the GPU by itself). With the
    address of a Dask scheduler in `SCENES_DASK` they go to its workers, which start in this folder, see the same files
    and have `stages` on their path. Finished shards survive a kill.

    Parameters
    ----------
    read : callable
        From an entry of `clips` to an array; must be picklable. Its `MediaWarning`s are counted and shown at the end.
    clips : list
        One entry a clip, such as the path of a media file; the row of an empty one (`""` or None) is `fill`.
    shape : tuple of int
        Shape of one clip's row.
    dtype : str
        Type of the array on disk.
    output : Path
        The `.npy` file, `[clips, *shape]`.
    inputs : list of Path
        The files that are read, for telling whether an interrupted run may go on.
    network : callable, optional
        From the stacked arrays of a shard's clips to their rows, `[clips, *shape]`; must be picklable.
    fill : float
        What stands in the row of an empty clip.

    Raises
    ------
    InputError
        If a row is not finite as `dtype`: features are never NaN.
    """
    folder = resume_folder(output, inputs)
    partial, done = folder / "array.npy", folder / "done"
    finished = _begin(partial, done, (len(clips), *shape), dtype)
    starts = [start for start in range(0, len(clips), SHARD) if start not in finished]
    shards = [(read, network, start, clips[start : start + SHARD]) for start in starts]
    address = os.environ.get("SCENES_DASK")
    results = _on_cluster(address, shards) if address else _on_this_machine(shards, 1 if network else None)
    messages: Counter[str] = Counter()
    first: dict[str, str] = {}
    initial = len(clips) - sum(len(clips[start : start + SHARD]) for start in starts)
    with (
        tqdm(total=len(clips), initial=initial, desc=output.stem, unit="clip") as bar,
        warnings.catch_warnings(action="ignore", category=UserWarning),  # joblib's, of work that is not waited for
        closing(results),  # ends the workers
        named_kill(),
    ):
        for start, rows, notes in results:
            # Mapped anew for each shard: what stays mapped counts as memory, in the end all of the array.
            array = np.lib.format.open_memmap(partial, mode="r+")
            array[start : start + SHARD] = fill
            for offset, row in rows.items():
                with np.errstate(over="ignore"):
                    array[start + offset] = row
                if not np.isfinite(array[start + offset]).all():
                    name = clips[start + offset]
                    raise InputError(
                        f"{output}: row {start + offset} (clip {name}) is not finite in {dtype}; check the clip and "
                        "the network's weights"
                    )
            array.flush()
            with naming(done), done.open("a", encoding="utf-8") as file:
                file.write(f"{start}\n")
            for clip, message in notes:
                messages[message] += 1
                first.setdefault(message, clip)
            bar.update(len(clips[start : start + SHARD]))
            stop_if_asked()
    for message, count in messages.items():
        print(f"warning: {count} clips: {message} (the first: {first[message]})", file=sys.stderr)
    with writing(output) as temporary:
        shutil.move(partial, temporary)  # data/ may be another disk than .resume/
    finish(folder)


def _begin(partial: Path, done: Path, shape: tuple[int, ...], dtype: str) -> set[int]:
    """The first clip of each shard that an interrupted run finished; makes the array where it is lacking or damaged."""
    if partial.exists() and done.exists():
        try:
            array = open_array(partial)
            if (array.shape, array.dtype) == (shape, dtype):
                return {int(line) for line in done.read_text(encoding="utf-8").split()}
        except (OSError, ValueError):
            pass
        print(f"warning: {partial.parent}: damaged; the extraction starts again", file=sys.stderr)
    allocate_array(partial, shape, dtype)
    done.write_text("", encoding="utf-8")
    return set()


def workers(default: int) -> int:
    """How many the environment variable `SCENES_WORKERS` asks for; -1 is one a core.

    Raises
    ------
    InputError
        If it is no such number.
    """
    wanted = os.environ.get("SCENES_WORKERS", str(default))
    if wanted != "-1" and (not wanted.isdecimal() or int(wanted) == 0):
        raise InputError(f"SCENES_WORKERS: {wanted!r} is not a number of workers, such as 4, or -1 for one a core")
    return int(wanted)


def _on_this_machine(shards: list[tuple], few: int | None) -> Iterator[tuple]:
    backend = os.environ.get("SCENES_BACKEND", "loky")
    if backend not in BACKENDS:
        raise InputError(f"SCENES_BACKEND: {backend!r} is not one of {', '.join(BACKENDS)}")
    # joblib's process that cleans up after an interrupt would name what is gone already; its filters come from here.
    sys.warnoptions.append("ignore:resource_tracker")
    return joblib.Parallel(
        n_jobs=workers(few or max(1, min(joblib.cpu_count(), len(shards) // SHARDS_A_WORKER))),
        backend=backend,
        batch_size=1,
        return_as="generator_unordered",
        **({"initializer": leave_signals} if backend == "loky" else {}),
    )(joblib.delayed(_shard)(*shard) for shard in shards)


def _on_cluster(address: str, shards: list[tuple]) -> Iterator[tuple]:
    """Dask gives the shards of a worker that died to the others."""
    from distributed import Client, KilledWorker, as_completed  # a second, which only a cluster is worth

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(f"SCENES_DASK: no Dask scheduler answers at {address} ({error})") from error
    with client:
        try:
            for future in as_completed([client.submit(_shard, *shard, pure=False) for shard in shards]):
                yield future.result()
        except KilledWorker as error:
            raise InputError(
                f"SCENES_DASK: a shard ended one worker after another; see their logs ({error})"
            ) from error


@contextmanager
def named_kill() -> Iterator[None]:
    try:
        yield
    except TerminatedWorkerError as error:
        raise InputError(
            "a worker was killed, likely for want of memory; run it again with fewer, such as SCENES_WORKERS=1"
        ) from error


def _shard(read: Callable, network: Callable | None, start: int, clips: list) -> tuple[int, dict, list]:
    rows, notes = {}, []
    for offset, clip in enumerate(clips):
        if clip not in ("", None):
            # One thread a worker: the last digits must not depend on how many workers share the cores.
            with threadpool_limits(limits=1), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", MediaWarning)
                rows[offset] = read(clip)
            notes += [(clip, str(warning.message)) for warning in caught if warning.category is MediaWarning]
    if network and rows:
        rows = dict(zip(rows, network(np.stack(list(rows.values()))), strict=True))
    return start, rows, notes
