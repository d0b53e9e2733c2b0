"""Timing ways of doing the same thing, side by side."""

import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np


def median_seconds(ways: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median time of each way, after one call of each that fills the caches.

    The ways take turns, so that whatever else the machine is doing slows all of them alike.
    """
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat:
                durations[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in durations.items()}


def machine(*packages: str) -> str:
    """The processor and the versions of Python and of some packages."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] or [platform.processor()]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{names[0]}, {len(names)} cores; Python {platform.python_version()}, {versions}"


def show(columns: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table, numbers to the right of a first column of words."""
    print("|", " | ".join(columns), "|")
    print("|---" + "|---:" * (len(columns) - 1) + "|")
    for row in rows:
        print("|", " | ".join(row), "|")
    print(flush=True)
