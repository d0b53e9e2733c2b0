"""Collect what trainings with several seeds reached, for the report's column, from what `dvc exp show --json` prints.

Experiments whose other parameters differ from the workspace's are left out.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv


def main(
    experiments: Annotated[Path, typer.Argument(help="output of dvc exp show --json")],
    out: Annotated[Path, typer.Argument(help="output, columns framework,seed,accuracy")],
) -> None:
    try:
        # The workspace, then commits, each followed by its experiments; one that failed or is queued has no data.
        entries = json.loads(experiments.read_text(encoding="utf-8"))
        states = [state for entry in entries
                  for state in (entry, *(rev for one in entry["experiments"] or () for rev in one["revs"]))
                  if state["data"]]  # fmt: skip
        params = pd.json_normalize([state["data"]["params"]["params.yaml"]["data"] for state in states])
        seeds = params.pop("seed")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{experiments}: not the output of dvc exp show --json") from error

    rows = []
    params = params.astype(str)
    for (_, row), seed, state in zip(params.iterrows(), seeds, states, strict=True):
        other = [f"{name} is {row[name]}, not {params[name][0]}" for name in params if row[name] != params[name][0]]
        if other:
            print(f"left out: {state['name'] or state['rev'][:7]}: {'; '.join(other)}", file=sys.stderr)
            continue
        for path, metrics in state["data"]["metrics"].items():
            framework = re.fullmatch(r"metrics/(\w+/.*)\.json", path)
            if framework and "accuracy" in metrics.get("data", {}):
                rows.append((framework[1], seed, metrics["data"]["accuracy"]))
    accuracies = pd.DataFrame(rows, columns=["framework", "seed", "accuracy"]).dropna()
    if accuracies.empty:
        raise InputError(f"{experiments}: has no accuracies; run dvc exp run first")
    # The workspace, its commit and an experiment may all have one seed.
    write_csv(out, accuracies.drop_duplicates(["framework", "seed"]).sort_values(["framework", "seed"]))


if __name__ == "__main__":
    run(main)
