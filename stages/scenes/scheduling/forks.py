"""Stages' commands as forks of processes that have imported the libraries (`scenes.scheduling.preloaded`)."""

import json
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from typing import IO

from scenes.scheduling.process import Process, start

STAGES = Path(__file__).parents[2]
SERVE = f"import sys; sys.path[0] = {str(STAGES)!r}; from scenes.scheduling.preloaded import serve; serve()"


class Fork:
    """A process that runs one script at a time in a fork of itself, which is of its group.

    It has those methods of `Process` that `execute` calls; `idle` is where it waits for its next script.
    """

    def __init__(self, variables: dict[str, str], idle: list["Fork"]) -> None:
        self._idle = idle
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, "-c", SERVE]
            self._process = Process(words, variables, stdout=theirs, stderr=subprocess.DEVNULL)
        self.pid = self._process.pid
        self.returncode: int | None = None
        self.ready = bool(self._answers.recv(64))

    def run(self, arguments: list[str], folder: str, variables: dict[str, str], output: IO) -> "Fork":
        self.returncode = None
        request = json.dumps({"arguments": arguments, "folder": folder, "variables": variables})
        socket.send_fds(self._answers, [request.encode()], [output.fileno()])
        return self

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.returncode = int(self._answers.recv(64) or -signal.SIGKILL)  # no answer: all of the group is dead
        return self.returncode

    def leave(self) -> None:
        self._idle.append(self)

    def kill_group(self) -> int:
        self._process.kill_group()
        self._answers.close()
        return -signal.SIGKILL if self.returncode is None else self.returncode


class Forks:
    """Starts commands: scripts in forks where that can be, one process to fork from for each that runs at a time.

    It can on Linux, without a GPU: elsewhere, what libraries set up when they are imported does not survive a fork.
    """

    def __init__(self) -> None:
        self.idle: defaultdict[tuple[str, ...], list[Fork]] = defaultdict(list)  # by the variables that a command sets
        self._lock = threading.Lock()
        self._can_fork = sys.platform == "linux"

    def start(self, command: str, folder: str, variables: dict[str, str], output: IO) -> Process | Fork:
        """As `scenes.scheduling.process.start`."""
        assignments, arguments = parsed(command)
        if self._can_fork and arguments and "CUDA_VISIBLE_DEVICES" not in variables:
            idle = self.idle[tuple(assignments)]
            with self._lock:
                fork = idle.pop() if idle else None
            fork = fork or Fork({**variables, **dict(word.split("=", 1) for word in assignments)}, idle)
            if fork.ready:
                return fork.run(arguments, folder, variables, output)
            fork.kill_group()
            self._can_fork = False
        return start(command, folder, variables, output)


def parsed(command: str) -> tuple[list[str], list[str]]:
    """The assignments, and the script with its arguments, of `NAME=value ... python SCRIPT.py ...`; else nothing."""
    if set(command) & set("$`*?[~\\#;&|<>()!\n"):  # for a shell
        return [], []
    words = shlex.split(command)
    start = next((index for index, word in enumerate(words) if "=" not in word), len(words))
    python, script = [*words[start : start + 2], "", ""][:2]
    return (words[:start], words[start + 1 :]) if python == "python" and script.endswith(".py") else ([], [])
