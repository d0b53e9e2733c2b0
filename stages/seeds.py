"""Collect what trainings with several seeds reached, for the report's column, from what `dvc exp show --csv` prints."""

from pathlib import Path
from typing import Annotated

import typer

from scenes.stage.cli import run
from scenes.stage.dataset import read_table
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv


def main(
    experiments: Annotated[Path, typer.Argument(help="output of dvc exp show --csv")],
    out: Annotated[Path, typer.Argument(help="output, columns framework,seed,accuracy")],
) -> None:
    table = read_table(experiments, ["seed"], text=False, more=True).replace("!", None)  # what an experiment lacks
    accuracies = table.set_index("seed").filter(regex=r"^metrics/\w+/.*\.json:accuracy$")
    if accuracies.empty:
        raise InputError(f"{experiments}: has no accuracies; make it with dvc exp show --csv")
    accuracies.columns = accuracies.columns.str.removeprefix("metrics/").str.removesuffix(".json:accuracy")
    long = accuracies.reset_index().melt("seed", var_name="framework", value_name="accuracy").dropna()
    # The workspace, its commit and an experiment may all have one seed.
    long = long.drop_duplicates(["framework", "seed"], keep="first").sort_values(["framework", "seed"])
    write_csv(out, long[["framework", "seed", "accuracy"]])


if __name__ == "__main__":
    run(main)
