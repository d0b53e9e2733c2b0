"""The report's section on sound and pictures that are bad or missing: its table and its figure."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scenes.evaluation.disturbed_scores import CLEAN
from scenes.reporting.colours import line_style
from scenes.reporting.figures import not_run
from scenes.reporting.markdown import nats, percent, table


def section(scores: pd.DataFrame, figure: Callable[[str, str], str]) -> str:
    """The section's Markdown.

    Parameters
    ----------
    scores : DataFrame
        metrics/robustness.csv, or no rows where it was not run.
    figure : callable
        From a figure's name and its description to the Markdown that shows it.
    """
    return f"""\
## When sound or picture is bad

Ensembles on the evaluate clips again, PROD: with pink noise, or with babble (the sound of four clips
of other locations), so many decibels below the clip; with frames blurred (sigma as a part of their height), in part of
the light, or partly covered; and without sound, or without pictures, where the members of the other modality speak. The
networks are those trained on clean clips. Accuracy and its interval; the difference in points to the same seconds of
clean clips, paired; log loss.

{figure("robustness", "Accuracy of ensembles under each condition, with 95 % intervals")}

{_table(scores)}"""


def _table(scores: pd.DataFrame) -> str:
    if scores.empty:
        return "Not run."
    figures = scores.set_index(["condition", "ensemble"])
    conditions, ensembles = scores["condition"].unique(), scores["ensemble"].unique()
    rows = [[condition, *(_cell(figures, condition, name) for name in ensembles)] for condition in conditions]
    header = ["condition", *(f"`{name}`" for name in ensembles)]
    return f"{table(header, rows)}\n\nIn numbers: [robustness.csv](robustness.csv)."


def _cell(figures: pd.DataFrame, condition: str, ensemble: str) -> str:
    row = figures.loc[(condition, ensemble)]
    cells = [percent(row["accuracy"], row["low"], row["high"])]
    if row["clips"]:
        if condition != CLEAN:
            cells.append(percent(row["difference"], row["difference_low"], row["difference_high"], "+"))
        cells.append(nats(row["log_loss"]))
    return "; ".join(cells)


def accuracies(scores: pd.DataFrame) -> Figure:
    """Accuracy of each ensemble under each condition, with its interval; a dotted line marks that of clean clips."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    if scores.empty:
        not_run(axes)
        return figure
    conditions, ensembles = list(scores["condition"].unique()), scores["ensemble"].unique()
    apart = 0.64 / len(ensembles)
    for number, ensemble in enumerate(ensembles):
        style = {**line_style(number), "markersize": 5, "label": ensemble}
        rows = scores[scores["ensemble"] == ensemble].set_index("condition").loc[conditions]
        at = np.arange(len(conditions)) + apart * (number - (len(ensembles) - 1) / 2)
        beyond = np.abs(rows[["low", "high"]].to_numpy().T - rows["accuracy"].to_numpy())
        axes.errorbar(at, rows["accuracy"], beyond, linestyle="none", elinewidth=0.8, capsize=2, **style)
        axes.axhline(rows.loc[CLEAN, "accuracy"], color=style["color"], linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(conditions)), conditions, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xticks(np.arange(len(conditions) - 1) + 0.5, minor=True)
    axes.grid(which="minor", axis="x", color="#DDDDDD", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("accuracy (dotted: of clean clips)")
    figure.legend(loc="outside upper left", ncols=min(len(ensembles), 5))
    return figure
