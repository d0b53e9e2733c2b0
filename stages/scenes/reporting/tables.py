"""The tables of the report: each as a DataFrame of numbers for a CSV file, or as Markdown for the page."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import brier, by_class, calibration_error, log_losses, macro_log_loss, right
from scenes.evaluation.uncertainty import location_interval, mcnemar
from scenes.reporting.markdown import NOT_RUN, full_name, name, nats, percent, table
from scenes.reporting.published import BASELINE, Published
from scenes.reporting.results import SCRATCH, NotRunError, Results
from scenes.systems import STRICT

# An ensemble's fusion where one stands for it, as in the paper.
MAIN = ["fuse/audio_best-prod", "fuse/visual_images-prod", "fuse/mel_inception-prod", "fuse/all_models-prod"]
# What the paper holds against the DCASE baseline.
RIVALS = {
    "fuse/audio_best-prod": ["dcase_baseline/audio"],
    "fuse/visual_images-prod": ["dcase_baseline/visual"],
    "fuse/mel_inception-prod": ["dcase_baseline/early", "dcase_baseline/official"],
    "fuse/all_models-prod": ["dcase_baseline/early", "dcase_baseline/official"],
}


def beside_paper(
    results: Results, published: dict[str, Published], ours: str, mark: Callable[[str], str], seeds: pd.DataFrame
) -> str:
    """Accuracy of whole clips, the paper's beside ours.

    Parameters
    ----------
    results : Results
    published : dict
        Of each framework, its name and figure in the paper.
    ours : str
        What our figures were measured on: the head of their column.
    mark : callable
        From a framework to a remark, which may be empty.
    seeds : DataFrame
        `framework, seed, accuracy` of trainings with several seeds; without rows there is no column for them.
    """
    header = ["framework", "in the paper", "paper", ours]
    rows = []
    for framework, paper in published.items():
        cell = run_or_not(lambda framework=framework: percent(*results.accuracy(framework)) + mark(framework))
        rows.append([name(framework), paper.name, _published(paper.accuracy), cell])
        if len(seeds):
            accuracies = seeds.loc[seeds["framework"] == framework, "accuracy"]
            rows[-1].append(_spread(accuracies))
    return table([*header, *(["over seeds"] if len(seeds) else [])], rows)


def others(results: Results, published: set[str]) -> dict[str, Published]:
    """The frameworks that were run and that the paper's tables do not have."""
    return {framework: Published("", np.nan) for framework in results.right if framework not in published}


def meta_accuracy(results: Results, framework: str) -> tuple[float, float, float]:
    """Accuracy among the meta-classes, the meta-class being that of the predicted class, and its interval."""
    scored = ~np.isnan(results.of(framework))
    meta = results.classes["meta_class"].to_numpy()
    predicted = results.probabilities[framework].argmax(axis=1)
    return results.mean(np.where(scored, meta[predicted] == meta[results.labels], np.nan))


def one_second(results: Results, ours: str, mark: Callable[[str], str]) -> str:
    """DCASE's protocol: accuracy and macro log loss of single seconds, the baseline's published figures among ours."""
    rows = []
    for framework, system in BASELINE.items():
        cells = run_or_not(lambda framework=framework: second_cells(results, results.seconds_of(framework)), 2)
        published = [_published(system.second_accuracy), f"{system.second_log_loss:.3f}"]
        remark = "" if cells[0] == NOT_RUN else mark(framework)
        rows.append([system.name, *published, cells[0] + remark, cells[1], _published(system.accuracy)])
    for framework, seconds in results.seconds.items():
        if framework not in BASELINE:
            accuracy, loss = second_cells(results, seconds)
            hears = results.hears(framework)
            title = f"{full_name(framework)}{f' (hears {hears})' if hears else ''}"
            rows.append([title, "", "", accuracy + mark(framework.removesuffix(STRICT)), loss, ""])
    for ensemble in results.ensembles:

        def fused(ensemble: str = ensemble) -> tuple[str, str]:
            return second_cells(results, prod(results.members_seconds(ensemble, strict=True)))

        accuracy, loss = run_or_not(fused, 2)
        remark = "" if accuracy == NOT_RUN else mark(f"fuse/{ensemble}-prod")
        rows.append([f"`{ensemble}` PROD of strict seconds", "", "", accuracy + remark, loss, ""])
    header = ["system", "published", "log loss", ours, "log loss", "published, 10-s clips"]
    return table(header, rows)


def against_best_member(results: Results) -> pd.DataFrame:
    """Each fusion against the best of its members, on the clips that both scored.

    Returns
    -------
    DataFrame
        `ensemble, rule, best_member, clips, difference, low, high, only_ensemble, only_member, p_value`: difference of
        the accuracies with its paired interval over locations; the clips that only the one got right; McNemar.
    """
    rows = []
    for framework in results.fused:
        ensemble, _, rule = framework.removeprefix("fuse/").rpartition("-")
        members = [member for member in results.ensembles[ensemble] if member in results.seconds]
        if not members:
            continue
        best = results.best(members)
        rows.append((ensemble, rule, best, *paired(results, results.of(framework), results.of(best))))
    columns = ["ensemble", "rule", "best_member", "clips", "difference", "low", "high",
               "only_ensemble", "only_member", "p_value"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def against_baseline(results: Results) -> pd.DataFrame:
    """The paper's best of each kind against the DCASE baseline's systems of that kind, on the clips that both scored.

    Returns
    -------
    DataFrame
        `framework, baseline`, and from `clips` on as `against_best_member`, with `only_framework, only_baseline`.
    """
    rows = [
        (framework, system, *paired(results, results.of(framework), results.of(system)))
        for framework, systems in RIVALS.items()
        for system in systems
        if {framework, system} <= set(results.right)
    ]
    columns = ["framework", "baseline", "clips", "difference", "low", "high",
               "only_framework", "only_baseline", "p_value"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def against_single(results: Results) -> pd.DataFrame:
    """Each network of both modalities against its two networks of one, and against their PROD, on the same clips.

    Returns
    -------
    DataFrame
        `joint, other`, the latter a framework or `prod`; `joint_accuracy, other_accuracy`, `joint_log_loss,
        other_log_loss`; and from `clips` on as `against_best_member`, with `only_joint, only_other`.
    """
    rows = []
    for joint in results.joint:
        others = {name: results.probabilities[name] for name in _single(joint) if name in results.probabilities}
        if len(others) == 2:
            others["prod"] = prod(np.stack(list(others.values())))
        for other, probabilities in others.items():
            hits = [right(results.labels, clips) for clips in (results.probabilities[joint], probabilities)]
            both = ~np.isnan(hits[0] - hits[1])
            losses = [macro_log_loss(results.labels[both], clips[both])
                      for clips in (results.probabilities[joint], probabilities)]  # fmt: skip
            rows.append((joint, other, *(hit[both].mean() for hit in hits), *losses, *paired(results, *hits)))
    columns = ["joint", "other", "joint_accuracy", "other_accuracy", "joint_log_loss", "other_log_loss",
               "clips", "difference", "low", "high", "only_joint", "only_other", "p_value"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def budget(results: Results, epochs: dict[str, int], seconds: dict[str, int], start: str) -> pd.DataFrame:
    """How much training each network of both modalities has had, and its two networks of one.

    Parameters
    ----------
    results : Results
    epochs : dict
        Of each classifier.
    seconds : dict
        Of each family, how many of a train clip's seconds are drawn in an epoch.
    start : str
        `single` if the networks of both modalities, but those from scratch, start from the two trained ones.

    Returns
    -------
    DataFrame
        `network, start`, the start being `single` or `scratch`; `sound, frames`: the trainings that a network's part
        of this modality has had, as `epochs x seconds + ...`, or empty.
    """

    def trainings(*frameworks: str) -> str:
        return " + ".join(f"{epochs.get(name, '?')} × {seconds.get(name.split('/')[0], '?')}" for name in frameworks)

    rows = {}
    for joint in results.joint:
        sound, frames = _single(joint)
        before = [[sound], [frames]] if start == "single" and not joint.endswith(SCRATCH) else [[], []]
        rows[sound] = ("scratch", trainings(sound), "")
        rows[frames] = ("scratch", "", trainings(frames))
        rows[joint] = ("single" if before[0] else "scratch", *(trainings(*part, joint) for part in before))
    return pd.DataFrame([(name, *row) for name, row in rows.items()], columns=["network", "start", "sound", "frames"])


def _single(joint: str) -> list[str]:
    """The two networks of one modality of which a network of both consists: of sound, of frames."""
    return ["audio_spectrogram/mel", f"visual_image/{joint.split('/')[1].removesuffix(SCRATCH)}"]


def beside_baseline(results: Results, ours: str, mark: Callable[[str], str]) -> str:
    """Accuracy of whole clips of the DCASE baseline's systems, published and ours."""
    rows = []
    for framework, system in BASELINE.items():
        cell = run_or_not(lambda framework=framework: percent(*results.accuracy(framework)) + mark(framework))
        rows.append([name(framework), system.name, _published(system.accuracy), cell])
    return table(["system", "published as", "published", ours], rows)


def by_classes(results: Results) -> pd.DataFrame:
    """Figures of every framework and class, under both protocols.

    Returns
    -------
    DataFrame
        `framework, protocol, class, units, accuracy, accuracy_low, accuracy_high, log_loss`; the protocol is clip or
        second, and `units` is how many of them were scored.
    """
    tables = []
    for framework, protocol, labels, places, probabilities in results.units():
        of_classes = by_class(labels, probabilities)
        hits = right(labels, probabilities)
        of_classes[["accuracy_low", "accuracy_high"]] = [
            location_interval(hits[labels == number], places[labels == number]) for number in of_classes.index
        ]
        names = {"framework": framework, "protocol": protocol, "class": results.classes["class"].to_numpy()}
        tables.append(of_classes.assign(**names))
    columns = ["framework", "protocol", "class", "units", "accuracy", "accuracy_low", "accuracy_high", "log_loss"]
    return pd.concat(tables)[columns]


def by_place(results: Results, level: list[str]) -> pd.DataFrame:
    """Accuracy of every framework at every city, or at every location.

    Parameters
    ----------
    results : Results
    level : list of str
        Columns of split.csv: `["city"]`, or `["city", "location"]`.

    Returns
    -------
    DataFrame
        `framework`, the columns of `level`, `clips` (scored), `accuracy`.
    """
    long = results.right.reset_index(drop=True).join(results.clips[level])
    long = long.melt(level, var_name="framework", value_name="accuracy").dropna()
    grouped = long.groupby(["framework", *level], sort=False)["accuracy"]
    return grouped.agg(clips="count", accuracy="mean").reset_index()


def cities(results: Results) -> str:
    """Accuracy of the main ensembles in each city."""
    rows = []
    for city in sorted(results.clips["city"].unique()):
        here = (results.clips["city"] == city).to_numpy()
        cells = [
            run_or_not(lambda framework=framework, here=here: percent(*results.mean(
                np.where(here, results.of(framework), np.nan)))) for framework in MAIN
        ]  # fmt: skip
        rows.append([city, f"{len(np.unique(results.places[here]))}", f"{here.sum()}", *cells])
    return table(["city", "locations", "clips", *map(name, MAIN)], rows)


def locations(by_location: pd.DataFrame) -> str:
    """How the accuracy of the main ensembles varies over locations."""
    rows = []
    for framework in MAIN:
        here = by_location[by_location["framework"] == framework].sort_values("accuracy", kind="stable")
        if here.empty:
            rows.append([name(framework), NOT_RUN, "", "", ""])
            continue
        quantiles = [percent(value) for value in np.quantile(here["accuracy"], [0, 0.1, 0.5])]
        worst = here.iloc[0]
        perfect = f"{(here['accuracy'] == 1).sum()} of {len(here)}"
        rows.append([name(framework), f"{quantiles[0]} ({worst['city']}-{worst['location']})", *quantiles[1:], perfect])
    return table(["framework", "worst location", "lowest tenth below", "median", "without an error"], rows)


def calibration(results: Results) -> pd.DataFrame:
    """`framework, protocol, units, calibration_error, brier` of every framework; the protocol is clip or second."""
    rows = [
        (framework, protocol, int((~np.isnan(probabilities).any(axis=1)).sum()),
         calibration_error(labels, probabilities), brier(labels, probabilities))
        for framework, protocol, labels, _, probabilities in results.units()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["framework", "protocol", "units", "calibration_error", "brier"])


def missed(results: Results) -> pd.DataFrame:
    """The clips that no classifier gets right: `clip, scene, city, location, taken_for, classifiers`.

    `taken_for` is what most of the classifiers, of which there are `classifiers`, took it for.
    """
    if not results.classifiers:
        return pd.DataFrame(columns=["clip", "scene", "city", "location", "taken_for", "classifiers"])
    right = results.right[results.classifiers]
    wrong = (right.sum(axis=1) == 0).to_numpy() & right.notna().any(axis=1).to_numpy()
    predicted = np.stack([results.probabilities[framework][wrong].argmax(axis=1) for framework in results.classifiers])
    scored = right[wrong].notna().to_numpy().T
    votes = np.stack([(predicted == number) & scored for number in range(len(results.classes))]).sum(axis=1)
    table = results.clips.loc[wrong, ["clip", "scene", "city", "location"]].reset_index(drop=True)
    return table.assign(taken_for=results.classes["class"].to_numpy()[votes.argmax(axis=0)],
                        classifiers=votes.max(axis=0))  # fmt: skip


def paired(results: Results, hits: np.ndarray, other: np.ndarray) -> tuple:
    """How many clips both scored; the difference of the accuracies and its interval; McNemar's test."""
    return int((~np.isnan(hits - other)).sum()), *results.mean(hits - other), *mcnemar(hits, other)


def second_cells(results: Results, seconds: np.ndarray) -> tuple[str, str]:
    """Accuracy and macro log loss of single seconds with their intervals, of probabilities `[clips, 10, classes]`."""
    count, per_clip, classes = seconds.shape
    losses = log_losses(np.repeat(results.labels, per_clip), seconds.reshape(-1, classes)).reshape(count, per_clip)
    losses = losses.mean(axis=1)
    scored = ~np.isnan(losses)
    loss = pd.Series(losses[scored]).groupby(results.labels[scored]).mean().mean()
    interval = location_interval(losses, results.places, results.labels)
    return percent(*results.mean(results.seconds_right(seconds))), nats(loss, *interval)


def run_or_not(cells: Callable, count: int = 1):
    """What a function gives, or so many cells that say that a framework of it was not run."""
    try:
        return cells()
    except NotRunError:
        return NOT_RUN if count == 1 else (NOT_RUN,) * count


def _published(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def _spread(accuracies: pd.Series) -> str:
    if accuracies.empty:
        return NOT_RUN
    spread = f" ± {100 * accuracies.std():.1f}" if len(accuracies) > 1 else ""
    return f"{100 * accuracies.mean():.1f}{spread} ({len(accuracies)})"
