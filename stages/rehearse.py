"""Rehearse a set-up: every stage at its full size on a handful of clips, one optimiser step a training; measured.

Prints what each stage took, what follows for the whole data set, and what this machine lacks. A rerun goes on where
the last one ended.
"""

import os
import platform
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import joblib
import networkx as nx
import pandas as pd
import typer
from dvc.env import DVC_STAGE

from scenes.rehearsal.alike import alike, copy_outputs
from scenes.rehearsal.estimate import GIB, estimates, table, trained_and_other
from scenes.rehearsal.lacking import gpus, lacking, survey
from scenes.rehearsal.meter import Record, gpu_memory, measure
from scenes.rehearsal.setting import (
    FOUNDATION,
    RECORD,
    UNTRAINED,
    at_hand,
    forget,
    handful,
    lay_out,
    link_clips,
    listed_clips,
    one_step,
    synthesize,
    write_params,
)
from scenes.rehearsal.untrained import stand_in
from scenes.scheduling.reproduction import reproduce, signals_deferred
from scenes.scheduling.stages import read_graph
from scenes.stage.cli import run
from scenes.stage.errors import InputError

TAU = pd.Series({"train": 8_646, "evaluate": 3_645})  # clips of fold 1


def main(
    stages: Annotated[list[str] | None, typer.Argument(help="stages, groups or patterns such as 'train-*'")] = None,
    params: Annotated[Path, typer.Option(help="the set-up")] = Path("params.paper.yaml"),
    folder: Annotated[Path, typer.Option(help="scratch folder, kept for a rerun")] = Path(".rehearsal"),
) -> None:
    project = Path.cwd()
    setup = lay_out(project, folder, params)
    listed = listed_clips(setup["dataset"], project)
    there = None if listed is None else at_hand(listed)
    synthetic = there is None or there.empty
    few = handful(synthesize(folder) if synthetic else there, setup)
    link_clips(few, folder)
    os.environ["KERAS_BACKEND"] = setup["backend"]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            machine = pool.submit(survey, setup).result()
        except (ImportError, BrokenProcessPool) as error:
            raise InputError(f"{params}: backend: {setup['backend']} cannot be used here ({error})") from error
        for each in machine.weights:
            if each.section in FOUNDATION and not each.path.exists():
                model = setup[each.section][each.network]["model"]
                pool.submit(stand_in, model, folder.absolute() / UNTRAINED / each.network).result()

    os.chdir(folder)
    # Where modules of the user's own may be.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(project))))
    full = {stage.addressing: stage.cmd for stage in read_graph(stages or ["dvc.yaml"])[1]}
    weights = {(each.section, each.network) for each in machine.weights if each.path.exists()}
    write_params(Path(), one_step(setup, few, weights, setup["backend"] in machine.on_gpu, project))
    record = Record(RECORD, [platform.node(), str(joblib.cpu_count()), *gpus()[0], *machine.on_gpu])
    if record.of_another:
        forget(Path())
    repo, graph = read_graph(stages or ["dvc.yaml"])
    rehearsed = [stage for stage in repo.index.stages if stage in graph]  # in the order of dvc.yaml
    named, twins = {stage.addressing: stage for stage in graph}, alike(rehearsed)
    graph = nx.DiGraph(graph)
    graph.add_edges_from((named[stage], first) for stage, first in twins.items())  # which is to run before it
    with signals_deferred() as stopped, gpu_memory() as gpu, ThreadPoolExecutor(1) as pool:

        def submit(commands: list[str], wdir: str, variables: dict[str, str], log: Path) -> Future:
            stage = named[variables[DVC_STAGE]]
            if stage.addressing in twins:
                return pool.submit(copy_outputs, twins[stage.addressing], stage)
            return pool.submit(measure, stage, (commands, wdir, variables, log), stopped, gpu, record)

        outcome = reproduce(repo, graph, [{}], submit, stopped)

    counts = TAU if listed is None else listed["fold"].value_counts().reindex(TAU.index, fill_value=0)
    rows = estimates(rehearsed, full, record, twins, trained_and_other(counts, setup["split"]), Path("data/split.csv"))
    disk = of_gpu = 0
    if not rows.empty:
        hours, disk, largest = rows["hours"].sum(), rows["disk"].sum(), rows.loc[rows["memory"].idxmax()]
        of_gpu = rows["gpu_memory"].max()
        print(table(rows))
        print(
            f"All of it, for {sum(counts):,} clips, one stage at a time on this machine: {hours:,.0f} hours, "
            f"{disk / 1e9:,.0f} GB; the most memory, {largest['memory'] / GIB:.1f} GiB, for {largest['stage']}"
        )
    missing = lacking(setup, project, machine, disk, of_gpu, not synthetic)
    print("\n- ".join(["Missing on this machine:", *(missing or ["nothing"])]))
    if outcome["failed"]:
        failed, left = (", ".join(outcome[word]) or "none" for word in ("failed", "not run"))
        raise InputError(f"not rehearsed: {failed}, which failed; {left}, which need them")


if __name__ == "__main__":
    run(main)
