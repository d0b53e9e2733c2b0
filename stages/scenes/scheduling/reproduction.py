"""Running the stages of a graph, several at a time: DVC's part here, their commands wherever `submit` sends them."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager

import networkx as nx
from dvc.repo import Repo
from dvc.stage import Stage
from tqdm import tqdm

from scenes.scheduling import timing
from scenes.scheduling.commands import PATIENCE
from scenes.scheduling.stages import begin, finish, job_of, last_lines, locked, notes, reserve
from scenes.stage.cli import SIGNALS


@contextmanager
def signals_deferred() -> Iterator[list[int]]:
    """Yield the signals that have arrived, which must not interrupt what DVC writes; raise them at the end."""
    stopped: list[int] = []
    handlers = {number: signal.signal(number, lambda number, _: stopped.append(number)) for number in SIGNALS}
    yield stopped
    for number in stopped:
        signal.signal(number, handlers[number])
        signal.raise_signal(number)


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
