"""How long stages take, by what each last took here: for the longest path and the time left."""

import json
import statistics
from contextlib import suppress
from pathlib import Path

import networkx as nx
from dvc.repo import Repo
from dvc.stage import Stage


def record(stage: Stage, seconds: float) -> None:
    """Remember the seconds of a stage in a file that neither Git nor DVC tracks."""
    file = _file(stage.repo)
    partial = file.with_suffix(".tmp")
    with suppress(OSError):  # only an estimate
        partial.write_text(json.dumps({**_read(file), stage.addressing: round(seconds, 1)}), encoding="utf-8")
        partial.replace(file)


def recorded(repo: Repo, graph: nx.DiGraph) -> dict[Stage, float]:
    """The seconds of each stage; the mean of the others where it never ran, 1 where none did."""
    known = _read(_file(repo))
    mean = statistics.fmean(known.values()) if known else 1
    return {stage: known.get(stage.addressing, mean) for stage in graph}


def longest_paths(graph: nx.DiGraph, seconds: dict[Stage, float]) -> dict[Stage, float]:
    """The seconds of the longest path through the graph that starts with each stage."""
    path: dict[Stage, float] = {}
    for stage in nx.topological_sort(graph):  # from the ends: edges lead to what a stage needs
        path[stage] = seconds[stage] + max((path[after] for after in graph.predecessors(stage)), default=0)
    return path


def _file(repo: Repo) -> Path:
    return Path(repo.tmp_dir, "seconds.json")


def _read(file: Path) -> dict[str, float]:
    try:
        return {name: float(seconds) for name, seconds in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):  # none yet, or damaged: only an estimate
        return {}
