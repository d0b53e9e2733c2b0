"""A stage's command in a process group of its own, which never outlives the process that started it."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
    environment = {**os.environ, "TQDM_MININTERVAL": "10", **environment, "PATH": path}
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
            process.communicate(b"\n")  # the guard ends in peace
            if process.returncode:
                break
    return process.returncode


def connect(address: str) -> "Client":
    """A client of a Dask scheduler; neither this nor its workers need a path to this module."""
    import cloudpickle
    from distributed import Client  # a second, which only a cluster is worth

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(f"--dask: no Dask scheduler answers at {address} ({error})") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # no traceback when the scheduler goes
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    return client


def wanted_by_scheduler() -> bool:
    """Whether the task that asks is still one of the cluster's, whose client or scheduler may have gone."""
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    closing = worker.status.name in ("closing", "closed", "failed")
    return task is not None and task.state in ("executing", "long-running") and not closing
