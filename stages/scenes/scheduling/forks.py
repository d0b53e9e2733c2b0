"""Stages' commands as forks of processes that have imported the libraries (`scenes.scheduling.preloaded`)."""

import json
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from scenes.scheduling.process import Process, start

STAGES = Path(__file__).parents[2]
SERVE = f"import sys; sys.path[0] = {str(STAGES)!r}; from scenes.scheduling.preloaded import serve; serve()"
LONGEST = 60_000  # bytes of a request, which is one message


@dataclass
class Kind:
    """The processes for commands that set the same variables; not `usable`, where libraries do not survive a fork."""

    idle: list["Fork"] = field(default_factory=list)
    usable: bool = True


class Fork:
    """A process that runs one script at a time in a fork of itself, which is of its group.

    It has those methods of `Process` that `execute` calls. A script that it cannot run, since it ends before it has
    the libraries, is started by `plain`.
    """

    def __init__(self, kind: Kind, variables: dict[str, str]) -> None:
        self._kind, self._ready = kind, False
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, "-c", SERVE]
            self._process = Process(words, variables, stdout=theirs, stderr=subprocess.DEVNULL)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def run(self, request: bytes, output: IO, plain: Callable[[], Process]) -> "Fork":
        self.returncode: int | None = None
        self._started, self._plain, self._forks = False, plain, True
        try:
            socket.send_fds(self._answers, [request], [output.fileno()])
        except OSError:  # it has been killed
            self._start_plainly()
        return self

    def poll(self) -> int | None:
        while self._forks and self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            try:
                answer = self._answers.recv(64)
            except ConnectionResetError:
                answer = b""
            if answer == b"ready":
                self._ready = True
            elif answer == b"started":
                self._started = True
            elif answer:
                self.returncode = int(answer)
            elif self._started:  # killed, which the script must not outlive
                self.returncode = self.kill_group()
            else:
                self._kind.usable = self._ready
                self._start_plainly()
        if not self._forks:
            self.returncode = self._process.poll()
        return self.returncode

    def _start_plainly(self) -> None:
        self._process.kill_group()
        self._answers.close()
        self._process, self._forks = self._plain(), False

    def leave(self) -> None:
        if not self._forks:
            self._process.leave()
        elif self.alive:
            self._kind.idle.append(self)

    def terminate_group(self) -> None:
        if self._started or not self._forks:
            self._process.terminate_group()
        else:  # it would be lost on its way to a script that is not there yet
            self._process.kill_group()
            self.returncode = -signal.SIGTERM

    def kill_group(self) -> int:
        code = self._process.kill_group()
        return code if self.returncode is None else self.returncode


class Forks:
    """Starts commands: scripts in forks where that can be, one process to fork from for each that runs at a time.

    It can on Linux, without a GPU: elsewhere, what libraries set up when they are imported does not survive a fork.
    """

    def __init__(self) -> None:
        self.kinds: defaultdict[tuple[str, ...], Kind] = defaultdict(Kind)  # by the variables that a command sets

    def start(self, command: str, folder: str, variables: dict[str, str], output: IO) -> Process | Fork:
        """As `scenes.scheduling.process.start`."""
        plain = partial(start, command, folder, variables, output)
        assignments, arguments = parsed(command)
        kind = self.kinds[tuple(assignments)]
        script = Path(folder, arguments[0]) if arguments else None
        if sys.platform != "linux" or not kind.usable or not script or not script.is_file():
            return plain()
        variables = {**variables, **dict(word.split("=", 1) for word in assignments)}
        request = json.dumps({"arguments": arguments, "folder": folder, "variables": variables}).encode()
        if "CUDA_VISIBLE_DEVICES" in variables or len(request) > LONGEST:
            return plain()
        fork = None
        while not (fork and fork.alive):
            try:
                fork = kind.idle.pop()
            except IndexError:
                fork = Fork(kind, variables)
        return fork.run(request, output, plain)


def parsed(command: str) -> tuple[list[str], list[str]]:
    """The assignments, and the script with its arguments, of `NAME=value ... python SCRIPT.py ...`; else nothing."""
    if re.search(r"[$`*?[~\\#;&|<>()!\n]|{[^}]*(,|\.\.)|\b(PATH|PYTHON\w*)=", command):  # for a shell
        return [], []
    try:
        words = shlex.split(command)
    except ValueError:  # a quotation without an end
        return [], []
    first = next((index for index, word in enumerate(words) if "=" not in word), len(words))
    python, script = [*words[first : first + 2], "", ""][:2]
    return (words[:first], words[first + 1 :]) if python == "python" and script.endswith(".py") else ([], [])
