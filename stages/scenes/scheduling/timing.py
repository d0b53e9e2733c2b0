"""How long stages take, by what each last took here: what the longest line of stages is, and what is left."""

import json
import statistics
from pathlib import Path

import networkx as nx
from dvc.repo import Repo
from dvc.stage import Stage


def record(stage: Stage, seconds: float) -> None:
    """Remember the seconds of a stage in a file that neither Git nor DVC tracks."""
    file = _file(stage.repo)
    file.write_text(json.dumps({**_read(file), stage.addressing: round(seconds, 1)}), encoding="utf-8")


def recorded(repo: Repo, graph: nx.DiGraph) -> dict[Stage, float]:
    """The seconds of each stage; the mean of the others where it never ran, 1 where none did."""
    known = _read(_file(repo))
    mean = statistics.fmean(known.values()) if known else 1
    return {stage: known.get(stage.addressing, mean) for stage in graph}


def longest(graph: nx.DiGraph, seconds: dict[Stage, float]) -> dict[Stage, float]:
    """The seconds of the longest line of stages that starts with each, of which one needs the other."""
    line: dict[Stage, float] = {}
    for stage in nx.topological_sort(graph):  # from the ends: edges lead to what a stage needs
        line[stage] = seconds[stage] + max((line[after] for after in graph.predecessors(stage)), default=0)
    return line


def _file(repo: Repo) -> Path:
    return Path(repo.tmp_dir, "seconds.json")


def _read(file: Path) -> dict[str, float]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
