"""What a stage's command takes, measured from outside while it runs: memory, and time by its progress bars."""

import json
import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil
from dvc.stage import Stage

from scenes.rehearsal.alike import kind
from scenes.rehearsal.estimate import Measured
from scenes.scheduling import process
from scenes.scheduling.commands import execute

# A line of a bar at each update; one process at work, whose time for a clip is known.
VARIABLES = {"TQDM_MININTERVAL": "0", "TQDM_MINITERS": "0", "SCENES_WORKERS": "1"}
BAR = re.compile(r"(?:(.*?): )? *\d+%\|[^|]*\| *(\d+)/(\d+) \[[^\]]*?, *(?:[\d.]+s/(\w+)|[\d.?]+(\w+)/s)")
INTERVAL = 0.05  # seconds between two looks at a process' memory


@dataclass
class Bar:
    """A progress bar: how many units of what there are, and when it first stood at each number of them."""

    total: int
    unit: str
    seen: dict[int, float] = field(default_factory=dict)

    def seconds_each(self) -> float | None:
        """Seconds per unit, but for the first update, before which networks are traced; None if nothing was done."""
        (start, first), *rest = self.seen.items()
        points = rest if len(rest) > 1 else [(start, first), *rest]
        done = points[-1][0] - points[0][0]
        return (points[-1][1] - points[0][1]) / done if done else None


@dataclass
class Meter:
    """Of one command.

    Attributes
    ----------
    memory : int
        The most bytes of memory (resident set) that its processes had at once. Pages that they share count for each.
    bars : dict of str to Bar
        Its progress bars by their names.
    """

    memory: int = 0
    bars: dict[str, Bar] = field(default_factory=dict)

    def start(self, command: str, folder: str, variables: dict[str, str], output: IO) -> process.Process:
        """As `scenes.scheduling.process.start`, with this meter on it; `output` gets all lines but those of bars."""
        reader, writer = os.pipe()
        with open(writer, "wb") as pipe:
            running = process.start(command, folder, variables | VARIABLES, pipe)
        copy = os.dup(output.fileno())  # the thread may read on for a moment after `output` is closed
        self._thread = threading.Thread(target=self._watch, args=(running, reader, copy))
        self._thread.start()
        return running

    def stop(self) -> None:
        """Wait until all that an ended command has printed is read."""
        self._thread.join()

    def _watch(self, running: process.Process, reader: int, log: int) -> None:
        with open(reader, "rb", buffering=0) as pipe, open(log, "wb") as output:
            pending, chunk = b"", b"-"
            while chunk:
                ready, _, _ = select.select([pipe], [], [], INTERVAL)
                if not ready and running.returncode is not None:
                    break  # a process that the command has left behind holds the pipe
                self.memory = max(self.memory, _resident(running.pid))
                if ready:
                    chunk = pipe.read(2**16)
                    *lines, pending = re.split(rb"[\r\n]+", pending + chunk)
                    # The last bar line is whole, though what ends it comes with the next.
                    if BAR.match(pending.decode(errors="replace")):
                        lines, pending = [*lines, pending], b""
                    self._read(lines, output)
            self._read([pending], output)

    def _read(self, lines: list[bytes], output: IO) -> None:
        now = time.monotonic()
        for line in lines:
            if match := BAR.match(line.decode(errors="replace").replace("\x1b[A", "")):
                name, count, total, *units = match.groups()
                bar = self.bars.setdefault(name or "", Bar(int(total), units[0] or units[1]))
                bar.seen.setdefault(int(count), now)
            elif line.strip():
                output.write(line + b"\n")


def _resident(pid: int) -> int:
    """Bytes of memory of a process and all that it started."""
    total = 0
    with suppress(psutil.Error):
        main = psutil.Process(pid)
        for each in (main, *main.children(recursive=True)):
            with suppress(psutil.Error):  # has just ended
                total += each.memory_info().rss
    return total


class GPUMemory:
    """The most memory of a GPU that was in use beside what was at the start, by nvidia-smi; of several, the fullest."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines, self.peak, self.before = lines, None, {}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        for line in self.lines:
            with suppress(ValueError):  # [N/A], of a part of a GPU
                index, used = map(int, line.split(","))
                self.peak = max(self.peak or 0, used - self.before.setdefault(index, used))

    def take(self) -> int | None:
        """Bytes at the most since the last call; None if nothing could be read."""
        peak, self.peak = self.peak, None if self.peak is None else 0
        return None if peak is None else peak * 2**20


@contextmanager
def gpu_memory() -> Iterator[GPUMemory | None]:
    """Watch the memory of the GPUs; None without nvidia-smi."""
    if not (command := shutil.which("nvidia-smi")):
        yield None
        return
    query = [command, "--query-gpu=index,memory.used", "--format=csv,noheader,nounits", "--loop-ms=100"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
        try:
            yield GPUMemory(watching.stdout)
        finally:
            watching.terminate()


class Record(dict[str, Measured]):
    """What stages took by their `kind`, kept in a JSON file.

    Parameters
    ----------
    path : Path
        The file.
    machine : list of str
        What times depend on besides; those of another machine are not read.
    """

    def __init__(self, path: Path, machine: list[str]) -> None:
        super().__init__()
        self.path, self.machine = path, machine
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"machine": machine, "stages": {}}
        self.of_another = content["machine"] != machine
        if not self.of_another:
            self.update({stage: Measured(**row) for stage, row in content["stages"].items()})
        self._write()

    def keep(self, stage: str, measured: Measured) -> None:
        """Add a kind of stage, or replace what it took before."""
        self[stage] = measured
        self._write()

    def _write(self) -> None:
        partial = self.path.with_suffix(".tmp")
        content = {"machine": self.machine, "stages": {stage: asdict(row) for stage, row in self.items()}}
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(self.path)


def measure(stage: Stage, job: tuple, stopped: list[int], gpu: GPUMemory | None, record: Record) -> int:
    """Run a stage's command and record what it took if it succeeds.

    Parameters
    ----------
    stage : Stage
        Whose outputs are weighed.
    job : tuple
        The arguments of `scenes.scheduling.commands.execute` after the first two.
    stopped : list of int
        The signals that have arrived, which end the command.
    gpu : GPUMemory or None
        Watched while it runs.
    record : Record
        Where the result goes.

    Returns
    -------
    int
        The command's exit code.
    """
    meter, start = Meter(), time.monotonic()
    if gpu:
        gpu.take()
    code = execute(meter.start, lambda: not stopped, *job)
    seconds = time.monotonic() - start
    meter.stop()
    if not code:
        # What most are counted of is what the command is for; batch norm and validation have shorter bars.
        bar = max(meter.bars.values(), key=lambda bar: bar.total, default=None)
        outputs = {os.path.relpath(out.fs_path, stage.repo.root_dir): _bytes(Path(out.fs_path)) for out in stage.outs}
        record.keep(kind(stage), Measured(
            seconds, meter.memory, gpu.take() if gpu else None, bar and bar.unit, bar.total if bar else 0,
            bar and bar.seconds_each(), outputs,
        ))  # fmt: skip
    return code


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
