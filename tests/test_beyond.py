"""The report on what goes beyond the paper: each beside PROD, by the paired tests, or said to be not run."""

import re
from pathlib import Path

import calibrate
import early_exit
import fuse
import made_up
import numpy as np
import pandas as pd
import pytest
from test_report import here, tables

from scenes.evaluation.calibration import temper
from scenes.evaluation.fusion import prod
from scenes.reporting.fitted_sections import BETTER, NO_DIFFERENCE, NOTHING, WORSE, verdict

MEMBERS = made_up.ENSEMBLES["mel_inception"]
CLIPS, PLACES, VALIDATION = 600, 60, 30


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ((0.01, 0.05, 0.01), BETTER),
        ((-0.05, -0.01, 0.01), WORSE),
        ((0.01, 0.05, 0.2), NO_DIFFERENCE),  # McNemar's test alone says no
        ((-0.01, 0.05, 0.01), NO_DIFFERENCE),  # the interval alone says no
        ((np.nan, np.nan, 0.01), NO_DIFFERENCE),  # clips of one location
    ],
)
def test_a_difference_is_claimed_by_the_paired_tests_alone(figures, said):
    assert verdict(*figures) == said


def write_run(validation: int) -> np.ndarray:
    """mel, which knows the class, and InceptionV3, which says another one more surely; and every stage on them."""
    labels = made_up.write_split(CLIPS, PLACES, validation)
    for seed, (name, share, temperature) in enumerate(zip(MEMBERS, (0.9, 0.1), (3.0, 0.5), strict=True)):
        classes = made_up.predicted(labels, round(share * CLIPS), seed)
        seconds = temper(made_up.probabilities(classes, seed, (10,)), temperature)
        made_up.write(f"predictions/{name}.npy", seconds.astype(np.float32))
    files = [Path(f"predictions/{name}.npy") for name in MEMBERS]
    split, classes = Path("split.csv"), Path("classes.csv")
    fuse.main(split, classes, "predictions/fuse/mel_inception-{rule}.npy", "c-{rule}.csv", "m-{rule}.json", files,
              Path("weights/mel_inception.csv"))  # fmt: skip
    out = {name: made_up.REPORT_OPTIONS[name] for name in made_up.REPORT_OPTIONS if name.startswith(("cal", "early"))}
    calibrate.main(split, classes, out.pop("calibrate"), Path("calibrate.json"), files)
    made_up.write_needs(mel=1.888)
    early_exit.main(split, classes, *out.values(), Path("early_exit.json"), "predictions/{classifier}.npy",
                    [f"mel_inception={','.join(MEMBERS)}"], made_up.REPORT_OPTIONS["needs"],
                    losses=[0.0, 1.0])  # fmt: skip
    Path("metrics/early_detect.csv").write_text("framework,seconds,accuracy,log_loss\n")
    Path("metrics/seeds.csv").write_text("framework,seed,accuracy\n")
    here()
    return labels


def test_each_stands_beside_prod():
    labels = write_run(VALIDATION)
    evaluate = np.arange(CLIPS) % PLACES >= VALIDATION
    text = Path("metrics/README.md").read_text()
    page = tables(text)

    def accuracy(fused: np.ndarray) -> float:
        return (fused.argmax(axis=1) == labels)[evaluate].mean()

    exits, weights = pd.read_csv("metrics/early_exit_chosen.csv"), pd.read_csv("weights/mel_inception.csv")
    temperatures = pd.read_csv("metrics/calibrate.csv").groupby("framework")["temperature"].first()
    seconds = {name: np.load(f"predictions/{name}.npy") for name in MEMBERS}
    fused = {rule: np.load(f"predictions/fuse/mel_inception-{rule.lower()}.npy") for rule in ("LOG_LINEAR", "STACKED")}
    fused["CALIBRATED-PROD"] = prod(np.stack([
        temper(seconds[name], temperatures[name]).mean(axis=1) for name in MEMBERS
    ]))  # fmt: skip
    _, *against, head, log_linear, stacked = page["Does fusion that learns help?"]
    for (rule, probabilities), row in zip(fused.items(), against, strict=True):
        gain = accuracy(probabilities) - accuracy(np.load("predictions/fuse/mel_inception-prod.npy"))
        assert row[:2] == [f"`mel_inception` {rule.replace('_', '-')}", str(evaluate.sum())] and gain > 0.3
        assert row[2].startswith(f"{100 * gain:+.1f} [+") and row[4:] == ["< 0.001", BETTER]
        ahead, behind = map(int, row[3].split(" : "))
        assert ahead - behind == round(gain * evaluate.sum())
    assert "of 3 comparisons: 3 better, 0 worse, 0 no difference shown." in text
    assert head == ["fusion", "members"]
    assert f"visual_image `InceptionV3` {weights['log_linear'][1]:.2f}" in log_linear[1]
    assert f"audio_spectrogram `mel` {weights['stacked'][0]:.0%}" in stacked[1]
    assert pd.read_csv("metrics/against_prod.csv")["verdict"].tolist() == [BETTER] * 3

    rows = {row[0]: row for row in page["With a temperature"]}
    assert rows["audio_spectrogram `mel`"][1] == f"{temperatures[MEMBERS[0]]:.2f}" and temperatures[MEMBERS[0]] < 1
    assert "falls beyond chance (its paired interval is below 0) for\n2 of 2 classifiers" in text

    _, first, second, classes, *of_classes = page["Knowing when to stop"]
    for row, figures in zip((first, second), exits.itertuples(), strict=True):
        assert row[:4] == [
            "`mel_inception`", f"{figures.loss:g}", f"{figures.threshold:.3f}", f"{figures.seconds:.1f}",
        ]  # fmt: skip
        assert row[5] == f"{100 * accuracy(np.load('predictions/fuse/mel_inception-prod.npy')):.1f}"
        assert row[-1] == verdict(figures.low, figures.high, figures.p_value)
    assert classes == ["class", "`mel_inception`"] and [row[0] for row in of_classes] == list(made_up.CLASSES)
    assert "mel_inception" in Path("metrics/early_exit.svg").read_text()
    for link in re.findall(r"\]\((\w+\.\w+)\)", text):
        assert Path(f"metrics/{link}").exists(), link


def test_without_a_validation_fold_each_is_said_to_be_not_run():
    write_run(0)
    text = Path("metrics/README.md").read_text()
    assert (
        text.count(NOTHING) == 3
        and "LOG-LINEAR |" not in text
        and "not run" in Path("metrics/early_exit.svg").read_text()
    )
    assert len(pd.read_csv("metrics/against_prod.csv")) == 0
    before = {path.name: path.read_bytes() for path in Path("metrics").glob("*") if path.suffix in (".md", ".svg")}
    # Nor were their stages.
    for name, path in made_up.REPORT_OPTIONS.items():
        if name.startswith(("calibrate", "early")):
            path.unlink()
    here()
    for name, content in before.items():
        assert Path(f"metrics/{name}").read_bytes() == content
