"""A process in a group of its own, which never outlives the process that started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

from dvc.stage.run import _make_cmd, get_executable

# Standard input is a pipe. When it closes without a line, because the process that started the command was killed, the
# whole group of the command is killed.
GUARD = """
exec 3<&0 </dev/null
{ trap "" INT TERM; read -r line <&3 || kill -KILL 0; } >/dev/null 2>&1 &
exec "$@" 3<&-
"""
# GNU's malloc keeps the memory that a training frees: to ask the system anew at each step costs a large network up to a
# tenth of its time.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": "2000000000", "MALLOC_MMAP_THRESHOLD_": "2000000000"}


class Process(subprocess.Popen):
    """A process with this environment's `python` and further variables."""

    def __init__(self, words: list[str], variables: dict[str, str], **options: object) -> None:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
        # Bars in a log need few lines.
        environment = {**MALLOC, **os.environ, "TQDM_MININTERVAL": "10", **variables, "PATH": path}
        environment.pop("PYTHONSAFEPATH", None)  # would hide stages/scenes from a script
        super().__init__(["/bin/sh", "-c", GUARD, "sh", *words], env=environment, stdin=subprocess.PIPE,
                         start_new_session=True, **options)  # fmt: skip

    def leave(self) -> None:
        """Nothing of a group whose first process has ended is killed."""
        self.communicate(b"\n")

    def terminate_group(self) -> None:
        os.killpg(self.pid, signal.SIGTERM)

    def kill_group(self) -> int:
        self.stdin.close()
        return self.wait()


def start(command: str, folder: str, variables: dict[str, str], output: IO) -> Process:
    """Start a command in DVC's shell; `output` gets both of its outputs."""
    words = _make_cmd(get_executable(), command)
    return Process(words, variables, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
