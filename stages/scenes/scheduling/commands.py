"""Stages' commands, a few at a time, here or on the workers of a Dask cluster."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scenes.scheduling import process
from scenes.scheduling.forks import Forks
from scenes.stage.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 10  # seconds that an interrupted command has to save its work


def execute(
    start: Callable[..., process.Process],
    wanted: Callable[[], bool],
    commands: list[str],
    folder: str,
    variables: dict[str, str],
    log: Path,
) -> int:
    """Run commands in turn until one fails or is no longer wanted.

    Parameters
    ----------
    start : callable
        As `scenes.scheduling.process.start`.
    wanted : callable
        Asked several times a second.
    log : Path
        Both outputs of the commands.

    Returns
    -------
    int
        The exit code of the last command; negative if a signal ended it.
    """
    with log.open("wb") as output:
        for command in commands:
            running = start(command, folder, variables, output)
            while running.poll() is None and wanted():
                time.sleep(0.05)
            if running.poll() is None:
                running.terminate_group()
                deadline = time.monotonic() + PATIENCE
                while running.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                return running.kill_group()
            running.leave()
            if running.returncode:
                break
    return running.returncode


@contextmanager
def executor(dask: str, jobs: int | None, stopped: list[int]) -> Iterator[tuple[Callable[..., Future], int]]:
    """Workers that run `function(start, wanted, *arguments)`, in threads of this process or on a Dask cluster.

    Parameters
    ----------
    dask : str
        Address of the scheduler, or empty.
    jobs : int or None
        How many calls run at a time; None: one per core up to 4, one per thread of a cluster's workers.
    stopped : list of int
        The signals that arrived; once it is not empty, running commands are ended.

    Yields
    ------
    callable, int
        From a function and its arguments, after the first two of `execute`, to a future; how many run at a time.

    Raises
    ------
    InputError
        If no scheduler answers, or it has no workers and `jobs` is None.
    """
    if dask:
        with _connect(dask) as client:
            jobs = jobs or sum(client.nthreads().values())
            if not jobs:
                raise InputError(
                    "--dask: the cluster has no workers yet; say with --jobs how many stages to run at a time"
                )
            pool = client.get_executor(pure=False)
            given = process.start, _wanted_by_scheduler
            yield lambda function, *arguments: pool.submit(function, *given, *arguments), jobs
    else:
        jobs = jobs or min(os.cpu_count() or 1, 4)
        given = Forks().start, lambda: not stopped
        with ThreadPoolExecutor(jobs) as pool:
            yield lambda function, *arguments: pool.submit(function, *given, *arguments), jobs


def _connect(address: str) -> "Client":
    """A client of a Dask scheduler; what it runs there is sent to the workers, which need not have it."""
    import cloudpickle
    from distributed import Client  # a second, which only a cluster is worth

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(f"--dask: no Dask scheduler answers at {address} ({error})") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # no traceback when the scheduler goes
    for module in (process, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)
    return client


def _wanted_by_scheduler() -> bool:
    """Whether the current task still belongs to the cluster, whose client or scheduler may have gone."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    closing = worker.status.name in ("closing", "closed", "failed")
    return task is not None and task.state in ("executing", "long-running") and not closing
