"""The figures of the report.

Marks, dashes and hatching tell colours apart in print. The same data give the same SVG file: identifiers are salted
with a constant and no date is written.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scenes.reporting.colours import BLACK, BLUE, COLOURS, MARKS, ORANGE, SKY, VERMILION, line_style
from scenes.stage.outputs import writing

matplotlib.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.size": 9,
        "hatch.linewidth": 0.5,
        "legend.frameon": False,
        "svg.hashsalt": "scenes",
    }
)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG."""
    with writing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def confusion_matrix(counts: np.ndarray | None, classes: Sequence[str], title: str) -> Figure:
    """Which class is taken for which, per cent of each true class (the paper, Figs. 1 and 2).

    Parameters
    ----------
    counts : ndarray of int or None
        `[classes, classes]`, true classes in rows; None for what was not run.
    classes : sequence of str
        Their names.
    title : str
        What was classified by what.
    """
    side = 2.2 + 0.5 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    if counts is None:
        not_run(axes)
        return figure
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(100 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=115)
    for row, column in np.argwhere(counts > 0):
        value = share[row, column]
        axes.text(
            column, row, f"{value:.0f}" if value == 100 else f"{value:.1f}", ha="center", va="center", fontsize=8,
            color="white" if value > 60 else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#CCCCCC", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (a row sums to 100 %)")
    return figure


def class_bars(accuracies: dict[str, pd.DataFrame | None], classes: Sequence[str]) -> Figure:
    """Accuracy of each class, side by side for some frameworks (the paper, Fig. 3).

    Parameters
    ----------
    accuracies : dict
        Of each framework, a row a class with `accuracy`, `accuracy_low` and `accuracy_high`; None for what was not run.
    classes : sequence of str
        Their names.
    """
    figure = Figure(figsize=(2 + 0.7 * len(classes), 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(accuracies)
    for number, (framework, table) in enumerate(accuracies.items()):
        at = np.arange(len(classes)) + (number - (len(accuracies) - 1) / 2) * width
        if table is None:
            axes.bar(at, np.nan, width, color="none", label=f"{framework}: not run")
            continue
        style = {"color": COLOURS[number], "edgecolor": "white", "hatch": ["", "////", "...."][number % 3]}
        axes.bar(at, table["accuracy"], width, label=framework, **style)
        beyond = np.abs(table[["accuracy_low", "accuracy_high"]].to_numpy().T - table["accuracy"].to_numpy())
        axes.errorbar(at, table["accuracy"], beyond, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("accuracy")
    axes.set_axisbelow(True)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    figure.legend(loc="outside upper left", ncols=len(accuracies))
    return figure


EARLY_CURVES = {
    "audio": ["cqt", "gam", "mel", "audio_spectrograms"],
    "visual": ["NASNetLarge", "DenseNet121", "InceptionV3", "visual_top3"],
    "audio-visual": ["mel_inception", "all_models"],
}


def early_detection(curves: pd.DataFrame, bands: dict[str, np.ndarray], abscissa: str) -> Figure:
    """Accuracy after so many segments of a second (the paper, Fig. 4), its ten curves in three panels of one scale.

    Parameters
    ----------
    curves : DataFrame
        `framework, seconds, accuracy`.
    bands : dict
        Of the frameworks drawn with one, the interval of each point, `[seconds, 2]`.
    abscissa : str
        What the seconds are.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, len(EARLY_CURVES), sharey=True)
    for axes, (title, frameworks) in zip(panels, EARLY_CURVES.items(), strict=True):
        for number, framework in enumerate(frameworks):
            curve = curves[curves["framework"] == framework]
            ensemble = framework in ("audio_spectrograms", "visual_top3", "all_models")
            line = {"color": BLACK if ensemble else COLOURS[number], "linewidth": 2 if ensemble else 1.2}
            # Later curves are drawn over earlier ones, whose larger open marks stay in sight.
            mark = {"marker": MARKS[number], "markersize": 9 - 1.5 * number, "markerfacecolor": "white"}
            label = framework if len(curve) else f"{framework}: not run"
            axes.plot(curve["seconds"], curve["accuracy"], label=label, **mark, **line)
            if framework in bands and len(curve):
                low, high = bands[framework].T
                axes.fill_between(curve["seconds"], low, high, alpha=0.12, color=line["color"], linewidth=0)
                for edge in (low, high):
                    axes.plot(curve["seconds"], edge, ":" if ensemble else "--", color=line["color"], linewidth=0.8)
        axes.set_title(title, loc="left")
        axes.set_xticks(range(1, 11))
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    panels[0].set_ylabel("accuracy")
    figure.supxlabel(abscissa, fontsize=9)
    return figure


def early_exit(curves: pd.DataFrame, chosen: pd.DataFrame) -> Figure:
    """Accuracy against the mean seconds of the recording, a panel an ensemble, with the thresholds chosen.

    Parameters
    ----------
    curves : DataFrame
        `ensemble, threshold, accuracy, seconds`; the last of an ensemble is that of the full clip.
    chosen : DataFrame
        `ensemble, loss, accuracy, seconds`.
    """
    ensembles = list(dict.fromkeys(curves["ensemble"]))
    columns = 3
    rows = max(1, -(-len(ensembles) // columns))
    figure = Figure(figsize=(10, 2.6 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(ensembles) :]:
        axes.set_visible(False)
    for panel, (axes, ensemble) in enumerate(zip(panels.flat, ensembles, strict=False)):
        here = curves[curves["ensemble"] == ensemble]
        axes.axhline(here["accuracy"].iloc[-1], color=BLACK, linestyle="--", linewidth=1, label="full clip")
        axes.plot(here["seconds"], here["accuracy"], color=BLUE, linewidth=1.4, label="by threshold")
        marks = chosen[chosen["ensemble"] == ensemble]
        for number, row in enumerate(marks.itertuples()):
            # Later marks are drawn over earlier ones, whose larger open marks stay in sight.
            axes.plot(row.seconds, row.accuracy, MARKS[number % len(MARKS)], markersize=11 - 2.5 * number, linestyle="",
                      color=COLOURS[1:][number % 6], markerfacecolor="none", markeredgewidth=1.5,
                      label=f"may lose {row.loss:g} points")  # fmt: skip
        axes.set_title(ensemble, loc="left", fontsize=9)
        axes.set_xlim(0.5, 10.5)
        axes.set_xticks(range(1, 11))
        axes.tick_params(labelbottom=panel + columns >= len(ensembles))
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    if ensembles:
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=5)
    else:
        panels[0, 0].set_visible(True)
        not_run(panels[0, 0])
    figure.supxlabel("mean seconds of the recording", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    return figure


def training_curves(families: dict[str, dict[str, pd.DataFrame]]) -> Figure:
    """Accuracy after each epoch: of the training batches, and of the validation fold where there is one.

    Parameters
    ----------
    families : dict
        Of each family, its members' histories `epoch, accuracy, val_accuracy`.
    """
    figure = Figure(figsize=(10, 4.4 * -(-len(families) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(families) // 2), 2, squeeze=False)
    for axes, (family, histories) in zip(panels.flat, families.items(), strict=False):
        axes.set_title(family, loc="left")
        if not histories:
            not_run(axes)
            continue
        for number, (member, history) in enumerate(histories.items()):
            style = {**line_style(number), "markersize": 4, "markevery": max(1, len(history) // 10)}
            axes.plot(history["epoch"], history["accuracy"], label=member, linewidth=1.4, **style)
            if history["val_accuracy"].notna().any():
                style |= {"linestyle": "--", "linewidth": 1, "markerfacecolor": "white"}
                axes.plot(history["epoch"], history["val_accuracy"], **style)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, columnspacing=1)
    panels[0, 0].set_ylabel("accuracy (dashed, open: validation)")
    return figure


def reliability_diagrams(tables: dict[str, pd.DataFrame | None]) -> Figure:
    """How often some frameworks are right when they are so sure; on the diagonal they are as good as they say.

    Parameters
    ----------
    tables : dict
        Of each framework, a row a bin with `units`, `confidence` and `accuracy`; None for what was not run.
    """
    rows = -(-len(tables) // 3)
    figure = Figure(figsize=(9, 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, 3, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(tables) :]:
        axes.set_visible(False)
    for axes, (framework, table) in zip(panels.flat, tables.items(), strict=False):
        axes.set_title(framework, loc="left", fontsize=9)
        if table is None:
            not_run(axes)
            continue
        axes.plot([0, 1], [0, 1], "--", color="#777777", linewidth=1)
        share = table["units"] / table["units"].sum()
        axes.bar(table["confidence"], share, 0.03, color="#CCCCCC")
        axes.plot(table["confidence"], table["accuracy"], color=BLUE, marker="o", markersize=5, clip_on=False)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
    figure.supxlabel("confidence", fontsize=9)
    figure.supylabel("accuracy (grey bars: part of the clips)", fontsize=9)
    return figure


def agreement(right: pd.DataFrame, scenes: Sequence[str], classes: Sequence[str]) -> Figure:
    """How many classifiers are right on a clip, over all clips and by class.

    Parameters
    ----------
    right : DataFrame
        `[clips, classifiers]`, 1 where right, 0 where wrong, NaN where there is no prediction.
    scenes : sequence of str
        The class of each clip.
    classes : sequence of str
        The names of the classes.
    """
    if right.empty:
        figure = Figure(figsize=(10, 4), layout="constrained")
        not_run(figure.subplots())
        return figure
    number, of = right.sum(axis=1).astype(int), right.notna().sum(axis=1)
    figure = Figure(figsize=(10, max(4, 0.22 * len(classes))), layout="constrained")
    left, beside = figure.subplots(1, 2, width_ratios=(1, 1.1))
    counts = np.bincount(number, minlength=right.shape[1] + 1)
    bars = left.bar(range(len(counts)), counts, color=[VERMILION, *[SKY] * (len(counts) - 1)], edgecolor="white")
    bars[0].set_hatch("////")
    left.annotate(f"{counts[0]}", (0, counts[0]), (0, 2), textcoords="offset points", ha="center")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.yaxis.get_major_locator().set_params(integer=True)
    left.set_xlabel(f"classifiers that are right, of {right.shape[1]}")
    left.set_ylabel("clips")

    part = np.select([number == 0, 2 * number < of, number < of], [0, 1, 2], 3)
    share = pd.crosstab(np.asarray(scenes), part, normalize="index").reindex(index=classes, columns=range(4)).fillna(0)
    start = np.zeros(len(classes))
    parts = [
        ("none right", VERMILION, "////"),
        ("less than half", ORANGE, "xxxx"),
        ("half or more", SKY, ""),
        ("all right", BLUE, ""),
    ]
    for column, (label, colour, hatch) in enumerate(parts):
        style = {"color": colour, "edgecolor": "white", "hatch": hatch, "label": label}
        beside.barh(classes, share[column], left=start, height=0.75, **style)
        start += share[column].to_numpy()
    beside.invert_yaxis()
    beside.set_xlim(0, 1)
    beside.xaxis.set_major_formatter(PercentFormatter(1))
    beside.set_xlabel("clips of the class")
    beside.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1, handlelength=1.4)
    return figure


def not_run(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run", ha="center", va="center", transform=axes.transAxes, fontsize=12, color="#777777")
    axes.axis("off")
