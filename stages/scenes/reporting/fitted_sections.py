"""What goes beyond the paper, each beside its PROD: learned fusion, temperatures, stopping early.

Whatever is fitted is fitted on the validation fold and judged here on the evaluate clips. A difference is said to be
one only if its paired interval and McNemar's test agree that it is not chance.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from scenes.evaluation.calibration import LIMITS, temper
from scenes.evaluation.fusion import LEARNED, prod
from scenes.evaluation.metrics import clip_probabilities, right
from scenes.evaluation.stopping_rule import NEVER
from scenes.reporting.markdown import NOT_RUN, full_name, name, paired, percent, table
from scenes.reporting.results import Results
from scenes.reporting.tables import paired as compared

CALIBRATED = "calibrated_prod"  # PROD of members at their temperatures
BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference shown"
NOTHING = "Not run: it needs a validation fold (`split.validation`)."


def verdict(low: float, high: float, p_value: float) -> str:
    """`BETTER` or `WORSE` where the 95 % interval of the difference excludes 0 and p < 0.05, else `NO_DIFFERENCE`."""
    if p_value < 0.05 and (low > 0 or high < 0):
        return BETTER if low > 0 else WORSE
    return NO_DIFFERENCE


def against_prod(results: Results, calibrate: pd.DataFrame) -> pd.DataFrame:
    """Each learned fusion, and PROD of calibrated members, against the paper's PROD of the same ensemble.

    Parameters
    ----------
    results : Results
    calibrate : DataFrame
        metrics/calibrate.csv, `framework, temperature, ...`.

    Returns
    -------
    DataFrame
        `ensemble, rule, clips, difference, low, high, only_rule, only_prod, p_value, verdict`.
    """
    temperatures = calibrate.groupby("framework")["temperature"].first()
    rows = []
    for ensemble, members in results.ensembles.items():
        if f"fuse/{ensemble}-prod" not in results.fused:
            continue
        rules = {rule: results.right.get(f"fuse/{ensemble}-{rule}") for rule in LEARNED}
        if set(members) <= set(temperatures.index) & set(results.seconds):
            tempered = [temper(results.seconds[member], temperatures[member]) for member in members]
            fused = prod(np.stack([clip_probabilities(seconds) for seconds in tempered]))
            rules[CALIBRATED] = right(results.labels, fused)
        for rule, hits in rules.items():
            if hits is not None:
                row = compared(results, np.asarray(hits), results.of(f"fuse/{ensemble}-prod"))
                rows.append((ensemble, rule, *row, verdict(row[2], row[3], row[-1])))
    columns = ["ensemble", "rule", "clips", "difference", "low", "high", "only_rule", "only_prod", "p_value", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def learned_fusion(against: pd.DataFrame, weights: pd.DataFrame) -> str:
    """The section on fusion that learns, from the table of `against_prod` and data/weights/fuse of all ensembles."""
    head = """\
## Does fusion that learns help?

LOG-LINEAR gives each member a weight of 0 or more, which is 1 for every member in PROD; STACKED is a logistic
regression on the members' log probabilities. Both are fitted on the validation fold. CALIBRATED-PROD is PROD of members
at their temperatures, for which see below.

"""
    if against.empty:
        return head + NOTHING
    rows = [
        [name(f"fuse/{row.ensemble}-{row.rule}"), f"{row.clips}", *paired(*row[-7:-1]), row.verdict]
        for row in against.itertuples()
    ]
    said = against["verdict"].value_counts()
    counts = ", ".join(f"{said.get(word, 0)} {word}" for word in (BETTER, WORSE, NO_DIFFERENCE))
    return f"""\
{head}Against the paper's PROD of the same ensemble, of {len(rows)} comparisons: {counts}. Better
or worse is said where the interval excludes 0 and p < 0.05; by chance alone, one comparison in twenty may still be.

{table(["fusion", "clips", "difference", "only it : only PROD", "McNemar's p", "than PROD"], rows)}

Which member is heard how much: its weight in LOG-LINEAR, and in STACKED its part of the sum of absolute coefficients.

{_weights_table(weights)}"""


def _weights_table(weights: pd.DataFrame) -> str:
    rows = []
    for ensemble, members in weights.groupby("ensemble", sort=False):
        for rule, style in (("log_linear", ".2f"), ("stacked", ".0%")):
            heard = ", ".join(
                f"{full_name(row.member)} {format(getattr(row, rule), style)}" for row in members.itertuples()
            )
            rows.append([name(f"fuse/{ensemble}-{rule}"), NOT_RUN if members[rule].isna().all() else heard])
    return table(["fusion", "members"], rows)


def temperatures(calibrate: pd.DataFrame) -> str:
    """The section on temperature scaling, from metrics/calibrate.csv."""
    head = f"""\
### With a temperature

Temperature scaling ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)): one number a classifier, fitted to the log
loss of the validation fold's seconds. Above 1 it makes the classifier less sure, below 1 more; at its limits,
{LIMITS[0]:g} and {LIMITS[1]:g}, the best lies beyond. A second's most probable class stays, a clip's may change.

"""
    if calibrate.empty:
        return head + NOTHING
    clips, seconds = (
        calibrate[calibrate["protocol"] == protocol].set_index("framework") for protocol in ("clip", "second")
    )
    rows = [
        [full_name(framework), f"{row['temperature']:.2f}", _change(row, "log_loss", ".3f"),
         f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]", _change(row, "calibration_error", ".1%"),
         _change(clips.loc[framework], "log_loss", ".3f"), _change(clips.loc[framework], "calibration_error", ".1%")]
        for framework, row in seconds.iterrows()
    ]  # fmt: skip
    header = ["classifier", "temperature", "seconds: log loss", "difference", "calibration error", "clips: log loss",
              "calibration error"]  # fmt: skip
    return f"""\
{head}The log loss of seconds falls beyond chance (its paired interval is below 0) for
{(seconds["high"] < 0).sum()} of {len(seconds)} classifiers and rises beyond chance for {(seconds["low"] > 0).sum()}.

{table(header, rows)}"""


def early_exit(chosen: pd.DataFrame, classes: pd.DataFrame, figure: Callable[[str, str], str]) -> str:
    """The section on stopping early, from metrics/early_exit_chosen.csv and metrics/early_exit_classes.csv."""
    head = """\
### Knowing when to stop

PROD after each second; an ensemble decides as soon as its highest probability reaches a threshold, else with the clip.
Seconds are those of the recording that have to be read; an ensemble waits for its slowest member. The threshold is the
fastest that loses at most so many points on the validation fold; the columns show what it does to the evaluate clips,
against deciding with the full clip, which is the paper's PROD.

"""
    if chosen.empty:
        return head + NOTHING
    rows = [
        [f"`{row.ensemble}`", f"{row.loss:g}", "never" if row.threshold == NEVER else f"{row.threshold:.3f}",
         f"{row.seconds:.1f}", percent(row.accuracy), percent(row.full_accuracy), *paired(*row[-6:]),
         verdict(row.low, row.high, row.p_value)]
        for row in chosen.itertuples()
    ]  # fmt: skip
    header = ["ensemble", "may lose", "threshold", "mean seconds", "accuracy", "full clip", "difference",
              "only early : only full", "McNemar's p", "than the full clip"]  # fmt: skip
    least = classes["loss"].min()
    seconds = classes[classes["loss"] == least].set_index(["class", "ensemble"])["seconds"]
    labels, ensembles = (seconds.index.unique(level) for level in ("class", "ensemble"))
    of_classes = [[label, *(_seconds(seconds[label, ensemble]) for ensemble in ensembles)] for label in labels]
    return f"""\
{head}{table(header, rows)}

{figure("early_exit", "Accuracy against the mean seconds of the recording")}

How long it takes, in mean seconds of each class, where {least:g} points may be lost on the validation fold:

{table(["class", *(f"`{ensemble}`" for ensemble in ensembles)], of_classes)}

Where more may be lost: [early_exit_classes.csv](early_exit_classes.csv)."""


def _seconds(mean: float) -> str:
    return "no clips" if np.isnan(mean) else f"{mean:.1f}"


def _change(row: pd.Series, figure: str, style: str) -> str:
    return " → ".join(format(row[f"{figure}_{when}"], style) for when in ("before", "after"))
