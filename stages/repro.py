"""Run each stage that is out of date as soon as what it needs is there, several at a time: `dvc repro`, side by side.

Only this process talks to DVC; the commands run in processes of their own, here or on the workers of a Dask cluster.
"""

import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from functools import partial
from typing import Annotated

import networkx as nx
import typer
from dvc.repo import Repo
from dvc.stage import Stage
from tqdm import tqdm

from scenes.scheduling import timing
from scenes.scheduling.commands import PATIENCE, execute, executor
from scenes.scheduling.stages import begin, finish, job_of, last_lines, locked, notes, read_graph, reserve
from scenes.stage.cli import SIGNALS, run
from scenes.stage.errors import InputError


def main(
    stages: Annotated[list[str] | None, typer.Argument(help="stages, groups or patterns such as 'fuse-*'")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="stages at a time; default: one per core, up to 4")] = None,
    gpus: Annotated[str, typer.Option(help="numbers of GPUs, such as 0,1; each stage sees one")] = "",
    dask: Annotated[str, typer.Option(help="address of a Dask scheduler, whose workers run the commands")] = "",
) -> None:
    repo, graph = read_graph(stages or ["dvc.yaml"])
    lanes = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus.split(",")] if gpus else [{}]
    stopped: list[int] = []  # signals, which must not interrupt what DVC writes
    handlers = {number: signal.signal(number, lambda number, _: stopped.append(number)) for number in SIGNALS}
    with executor(dask, jobs or (len(lanes) if gpus else None), stopped) as (submit, jobs):
        outcome = reproduce(repo, graph, (lanes * jobs)[:jobs], partial(submit, _job), stopped)
    for number in stopped:
        signal.signal(number, handlers[number])
        signal.raise_signal(number)
    print("stages: " + ", ".join(f"{len(names)} {word}" for word, names in outcome.items() if names))
    if outcome["failed"]:
        failed, left = (", ".join(outcome[word]) or "none" for word in ("failed", "not run"))
        raise InputError(f"failed: {failed}; not run, because they need it: {left}")


def _job(*arguments: object) -> int:
    """Run on a worker: Dask pickles a function of the script itself with all that it calls."""
    return execute(*arguments)


def reproduce(
    repo: Repo, graph: nx.DiGraph, free: list[dict[str, str]], submit: Callable[..., Future], stopped: list[int]
) -> dict[str, list[str]]:
    """Run what can be run, on the longest path first, until all is done or stopped; the stages by their outcome."""
    seconds = timing.recorded(repo, graph)
    path = timing.longest_paths(graph, seconds)
    needs = {stage: set(graph.successors(stage)) for stage in graph}
    running: dict[Future, tuple[Stage, dict[str, str], ExitStack, float]] = {}
    outcome: dict[str, list[str]] = {word: [] for word in ("up to date", "restored", "updated", "run", "failed")}
    bar = tqdm(total=sum(seconds.values()), smoothing=0, dynamic_ncols=True, disable=None, leave=False,
               bar_format="{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining}{postfix}")  # fmt: skip

    def settle(stage: Stage, word: str, *lines: str) -> None:
        outcome[word].append(stage.addressing)
        for text in lines:
            bar.write(f"{stage.addressing}: {text}")
        bar.total -= seconds[stage] if word != "run" else 0
        bar.update(seconds[stage] if word == "run" else 0)
        for others in needs.values() if word != "failed" else ():
            others.discard(stage)

    with bar:
        while not stopped:
            with locked(repo, stopped) as ours:
                for future in [future for future in running if ours and future.done()]:
                    stage, lane, reserved, start = running.pop(future)
                    free.append(lane)
                    with reserved:
                        problem = finish(stage, future)
                    for other, _, held, _ in running.values():  # DVC records an input that two stages read once
                        held.enter_context(reserve(other))
                    if problem:
                        settle(stage, "failed", problem, *last_lines(stage))
                    else:
                        timing.record(stage, taken := time.monotonic() - start)
                        settle(stage, "run", f"{taken:.0f} s", *notes(stage))
                while free and not stopped and (ready := [stage for stage, others in needs.items() if not others]):
                    stage = max(ready, key=path.get)
                    del needs[stage]
                    with ExitStack() as reserved:
                        word, *lines = begin(stage, reserved)
                        if word == "run":
                            lane = free.pop(0)
                            running[submit(*job_of(stage, lane))] = stage, lane, reserved.pop_all(), time.monotonic()
                        else:
                            settle(stage, word, *lines)
            if not running:
                break
            bar.set_postfix_str(", ".join(stage.addressing for stage, *_ in running.values()))
            while not wait(running, 0.5, FIRST_COMPLETED).done and not stopped:
                bar.refresh()
    for future in running:
        future.cancel()
    wait(running, PATIENCE)
    for _, _, reserved, _ in running.values():
        reserved.close()
    return {**outcome, "not run": [stage.addressing for stage in needs]}


if __name__ == "__main__":
    run(main)
