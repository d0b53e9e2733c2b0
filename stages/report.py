"""Report on a whole run: the paper's tables beside ours, its claims put to the test, and figures."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer

from scenes.dataset.tables import SECONDS, read_table
from scenes.evaluation.calibration import COLUMNS
from scenes.evaluation.disturbed_scores import SCORES
from scenes.evaluation.fusion import LEARNED, RULES
from scenes.evaluation.metrics import calibration_error, confusion, reliability
from scenes.evaluation.needs import read_needs
from scenes.evaluation.predictions import units_of, with_families
from scenes.evaluation.stopping_rule import CHOSEN, CURVE, OF_CLASSES
from scenes.reporting import figures
from scenes.reporting import robustness_section as robustness
from scenes.reporting.fitted_sections import against_prod
from scenes.reporting.markdown import segments
from scenes.reporting.page import page
from scenes.reporting.results import NotRunError, Results, read_results
from scenes.reporting.tables import (
    against_baseline,
    against_best_member,
    against_single,
    budget,
    by_classes,
    by_place,
    calibration,
    missed,
)
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, writing
from scenes.systems import FAMILIES

DEMO = Path("data/demo/clips/evaluation_setup")
DATA_SETS = {
    DEMO: "demo set (synthetic)",
    Path("data/tau/clips/evaluation_setup"): "TAU Urban Audio-Visual Scenes 2021, fold 1",
}
CONFUSIONS = {"audio_best": "sound", "visual_images": "pictures", "all_models": "sound and pictures"}
BARS = ["dcase_baseline/official", "fuse/mel_inception-prod", "fuse/all_models-prod"]
BANDS = ["mel_inception", "all_models"]
RELIABILITY = ["audio_best-prod", "visual_images-prod", "mel_inception-prod",
               *(f"all_models-{rule}" for rule in RULES)]  # fmt: skip


def main(
    split: Path,
    classes: Path,
    early_detect: Annotated[Path, typer.Argument(help="curves of early detection")],
    seeds: Annotated[Path, typer.Argument(help="framework,seed,accuracy of trainings with several seeds")],
    out: Annotated[Path, typer.Argument(help="output .md")],
    figure: Annotated[str, typer.Argument(help="output .svg, with {figure}")],
    details: Annotated[str, typer.Argument(help="output .csv, with {table}")],
    predictions: Annotated[str, typer.Argument(help="predictions of a classifier, with {classifier}")],
    frameworks: Annotated[
        list[str], typer.Argument(help="classifiers family/member,member,..., or ENSEMBLE=family/member,member,...")
    ],
    fused: Annotated[str, typer.Option(help="predictions of an ensemble, with {ensemble} and {rule}")],
    history: Annotated[str, typer.Option(help="history of a classifier's training, with {classifier}")],
    weights: Annotated[str, typer.Option(help="what the learned rules hear of an ensemble's members, with {ensemble}")],
    calibrate: Annotated[Path, typer.Option(help="temperatures of the classifiers")],
    early_exit: Annotated[Path, typer.Option(help="curves of early exit")],
    early_exit_chosen: Annotated[Path, typer.Option(help="its thresholds, against the full clip")],
    early_exit_classes: Annotated[Path, typer.Option(help="its mean seconds of each class")],
    disturbed: Annotated[Path, typer.Option(help="scores of the ensembles on disturbed clips")],
    setup: Annotated[Path, typer.Option(help="folder of the data set's setup files: which data set it is")],
    needs: Annotated[str, typer.Option(help="seconds that the patches of a spectrogram need, with {kind}")],
    unit: options.UnitsOf = (),
    pretrained: Annotated[
        list[str], typer.Option(help="family/member,...=true, or =false: they, or parts of them, started untrained")
    ] = (),
    joint_start: Annotated[Literal["single", "scratch"], typer.Option(help="start of the joint network")] = "single",
    seconds: Annotated[list[str], typer.Option(help="FAMILY=SECONDS drawn from a train clip per epoch")] = (),
) -> None:
    results, missing = read_results(split, classes, predictions, frameworks, fused, units_of(unit))
    for path in missing:
        print(f"not run: {path}", file=sys.stderr)
    from_random = {classifier for entry in pretrained for classifier in _untrained(entry)}
    of_an_epoch = dict(_count(entry) for entry in seconds)
    detection = read_table(early_detect, ["framework", "seconds", "accuracy", "log_loss"], text=False)
    over_seeds = read_table(seeds, ["framework", "seed", "accuracy"], text=False)
    temperatures = _of_a_stage(calibrate, COLUMNS)
    exits = _of_a_stage(early_exit, CURVE), _of_a_stage(early_exit_chosen, CHOSEN)
    under_conditions = _of_a_stage(disturbed, SCORES)

    class_table = by_classes(results)
    tables = {
        "by_class": class_table,
        "by_city": by_place(results, ["city"]),
        "by_location": by_place(results, ["city", "location"]),
        "calibration": calibration(results),
        "ensembles": against_best_member(results),
        "baseline": against_baseline(results),
        "joint": against_single(results),
        "missed": missed(results),
        "against_prod": against_prod(results, temperatures),
    }
    for name, table in tables.items():
        write_csv(Path(details.format(table=name)), table)

    histories = {
        classifier: pd.read_csv(path)
        for classifier in results.seconds
        if (path := Path(history.format(classifier=classifier))).exists()
    }
    abscissa = segments(_first_patches(results, needs))
    drawings = _figures(results, detection, class_table, histories, exits, abscissa)
    for name, drawn in {**drawings, "robustness": robustness.accuracies(under_conditions)}.items():
        figures.save(drawn, Path(figure.format(figure=name)))

    def show(name: str, description: str) -> str:
        return f"![{description}]({os.path.relpath(figure.format(figure=name), out.parent)})"

    def untrained(framework: str) -> bool:
        ensemble = framework.removeprefix("fuse/").rpartition("-")[0]
        members = results.ensembles[ensemble] if framework.startswith("fuse/") else [framework]
        return not from_random.isdisjoint(members)

    # A queued experiment names the folder by its absolute path.
    data_set = next((name for folder, name in DATA_SETS.items() if setup.match(str(folder))), str(setup))
    epochs = {classifier: len(table) for classifier, table in histories.items()}
    tables |= {
        "budget": budget(results, epochs, of_an_epoch, joint_start),
        "calibrate": temperatures,
        "weights": _all_weights(results, weights),
        "early_exit_chosen": exits[1],
        "early_exit_classes": _of_a_stage(early_exit_classes, OF_CLASSES),
    }
    bad = robustness.section(under_conditions, show)
    text = page(results, tables, over_seeds, data_set, setup.match(str(DEMO)), untrained, show, bad, abscissa)
    with writing(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _untrained(entry: str) -> list[str]:
    classifiers, _, value = entry.rpartition("=")
    if value not in ("true", "false"):
        raise InputError(f"--pretrained {entry}: must be family/member,...=true or family/member,...=false")
    return with_families(classifiers.split(",")) if value == "false" else []


def _count(entry: str) -> tuple[str, int]:
    family, _, value = entry.partition("=")
    if not value.isdecimal():
        raise InputError(f"--seconds {entry}: must be FAMILY=SECONDS, such as visual_image=10")
    return family, int(value)


def _of_a_stage(path: Path, columns: list[str]) -> pd.DataFrame:
    """The table of a stage; of one that was not run, without rows."""
    return read_table(path, columns, text=False) if path.exists() else pd.DataFrame(columns=columns)


def _first_patches(results: Results, needs: str) -> dict[str, float]:
    """Seconds of the recording that the first patch of each spectrogram needs, of those that were run."""
    kinds = [name.split("/")[1] for name in results.classifiers if name.split("/")[0] == "audio_spectrogram"]
    paths = {kind: Path(needs.format(kind=kind)) for kind in kinds}
    return {kind: read_needs(path)[0] for kind, path in paths.items() if path.exists()}


def _all_weights(results: Results, weights: str) -> pd.DataFrame:
    """`ensemble, member, log_linear, stacked` of every ensemble."""
    columns = ["member", *LEARNED]
    return pd.concat(
        _of_a_stage(Path(weights.format(ensemble=ensemble)), columns).assign(ensemble=ensemble)
        for ensemble in results.ensembles
    )


def _figures(
    results: Results,
    detection: pd.DataFrame,
    class_table: pd.DataFrame,
    histories: dict[str, pd.DataFrame],
    exits: tuple[pd.DataFrame, pd.DataFrame],
    abscissa: str,
) -> dict:
    names = results.classes["class"]
    ran = results.probabilities
    confusions = {
        f"confusion_{ensemble}": figures.confusion_matrix(
            confusion(results.labels, ran[f"fuse/{ensemble}-prod"]) if f"fuse/{ensemble}-prod" in ran else None,
            names,
            f"{ensemble} (PROD): {what}, per cent",
        )
        for ensemble, what in CONFUSIONS.items()
    }
    of_clips = class_table[class_table["protocol"] == "clip"]
    bars = {
        framework.removeprefix("fuse/"): of_clips[of_clips["framework"] == framework] if framework in ran else None
        for framework in BARS
    }
    bands = {}
    for ensemble in BANDS:
        try:
            bands[ensemble] = np.array([results.early_interval(ensemble, heard + 1) for heard in range(SECONDS)])
        except NotRunError:
            continue
    diagrams = {}
    for framework in RELIABILITY:
        clips = ran.get(f"fuse/{framework}")
        error = "" if clips is None else f", error {100 * calibration_error(results.labels, clips):.1f} %"
        diagrams[framework + error] = None if clips is None else reliability(results.labels, clips)
    of_families = {
        family: {name.split("/")[1]: table for name, table in histories.items() if name.split("/")[0] == family}
        for family in (*FAMILIES, "dcase_baseline")
    }
    return {
        **confusions,
        "classes": figures.class_bars(bars, names),
        "early_detect": figures.early_detection(detection, bands, abscissa),
        "reliability": figures.reliability_diagrams(diagrams),
        "agreement": figures.agreement(results.right[results.classifiers], results.clips["scene"], names),
        "early_exit": figures.early_exit(*exits),
        "training": figures.training_curves(of_families),
    }


if __name__ == "__main__":
    run(main)
