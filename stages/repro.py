"""Run each stage that is out of date as soon as what it needs is there, several at a time: `dvc repro`, side by side.

Only this process talks to DVC; the commands run in processes of their own, here or on the workers of a Dask cluster.
"""

from functools import partial
from typing import Annotated

import typer

from scenes.scheduling.commands import execute, executor
from scenes.scheduling.reproduction import reproduce, signals_deferred
from scenes.scheduling.stages import read_graph
from scenes.stage.cli import run
from scenes.stage.errors import InputError


def main(
    stages: Annotated[list[str] | None, typer.Argument(help="stages, groups or patterns such as 'fuse-*'")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="stages at a time; default: one per core, up to 4")] = None,
    gpus: Annotated[str, typer.Option(help="numbers of GPUs, such as 0,1; each stage sees one")] = "",
    dask: Annotated[str, typer.Option(help="address of a Dask scheduler, whose workers run the commands")] = "",
) -> None:
    repo, graph = read_graph(stages or ["dvc.yaml"])
    lanes = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus.split(",")] if gpus else [{}]
    at_a_time = jobs or (len(lanes) if gpus else None)
    with signals_deferred() as stopped, executor(dask, at_a_time, stopped) as (submit, jobs):
        outcome = reproduce(repo, graph, (lanes * jobs)[:jobs], partial(submit, _job), stopped)
    print("stages: " + ", ".join(f"{len(names)} {word}" for word, names in outcome.items() if names))
    if outcome["failed"]:
        failed, left = (", ".join(outcome[word]) or "none" for word in ("failed", "not run"))
        raise InputError(f"failed: {failed}; not run, because they need it: {left}")


def _job(*arguments: object) -> int:
    """Run on a worker: Dask pickles a function of the script itself with all that it calls."""
    return execute(*arguments)


if __name__ == "__main__":
    run(main)
