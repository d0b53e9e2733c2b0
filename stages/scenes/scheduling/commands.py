"""A stage's command in a process group of its own, which never outlives the process that started it."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.stage.run import _make_cmd, get_executable

from scenes.stage.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

# Standard input is a pipe. When it closes without a line, because the process that started the command was killed, the
# whole group of the command is killed.
GUARD = 'exec 3<&0 </dev/null; { trap "" INT TERM; read -r line <&3 || kill -KILL 0; } & exec "$@" 3<&-'
PATIENCE = 10  # seconds that an interrupted command has to save its work
# GNU's malloc keeps the memory that a training frees: to ask the system anew at each step costs a large network up to a
# tenth of its time.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_MMAP_THRESHOLD_": "2000000000"}


def execute(
    wanted: Callable[[], bool], commands: list[str], folder: str, environment: dict[str, str], log: Path
) -> int:
    """Run commands in DVC's shell and with this environment's `python` until one fails or is no longer wanted.

    Parameters
    ----------
    wanted : callable
        Asked several times a second.
    log : Path
        Both outputs of the commands.

    Returns
    -------
    int
        The exit code of the last command; negative if a signal ended it.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    # Bars in a log need few lines.
    environment = {**MALLOC, **os.environ, "TQDM_MININTERVAL": "10", **environment, "PATH": path}
    environment.pop("PYTHONSAFEPATH", None)  # would hide stages/scenes from a script
    with log.open("wb") as output:
        for command in commands:
            process = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "sh", *_make_cmd(get_executable(), command)], cwd=folder, env=environment,
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            while process.poll() is None and wanted():
                time.sleep(0.05)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                deadline = time.monotonic() + PATIENCE
                while process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                process.stdin.close()  # what is left of it is killed
                return process.wait()
            process.communicate(b"\n")  # the guard ends and kills nothing
            if process.returncode:
                break
    return process.returncode


@contextmanager
def executor(dask: str, jobs: int | None, stopped: list[int]) -> Iterator[tuple[Callable[..., Future], int]]:
    """Workers that run `function(wanted, *arguments)`, in threads of this process or on a Dask cluster.

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
        From a function and its arguments to a future; and how many calls run at a time.

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
            yield lambda function, *arguments: pool.submit(function, _wanted_by_scheduler, *arguments), jobs
    else:
        jobs = jobs or min(os.cpu_count() or 1, 4)
        with ThreadPoolExecutor(jobs) as pool:
            yield lambda function, *arguments: pool.submit(function, lambda: not stopped, *arguments), jobs


def _connect(address: str) -> "Client":
    """A client of a Dask scheduler; this module is sent to the workers, which need not have it."""
    import cloudpickle
    from distributed import Client  # a second, which only a cluster is worth

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(f"--dask: no Dask scheduler answers at {address} ({error})") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # no traceback when the scheduler goes
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return client


def _wanted_by_scheduler() -> bool:
    """Whether the current task still belongs to the cluster, whose client or scheduler may have gone."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    closing = worker.status.name in ("closing", "closed", "failed")
    return task is not None and task.state in ("executing", "long-running") and not closing
