"""The report prints the figures of the predictions it is given, and says what was not run."""

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import made_up
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from report import main

from scenes.evaluation.uncertainty import mcnemar
from scenes.reporting.claims import CLAIMS, CONTRADICTED, SUPPORTED, UNDECIDED, above, all_of, below
from scenes.reporting.fitted_sections import BETTER, NO_DIFFERENCE, WORSE, verdict
from scenes.reporting.markdown import paired
from scenes.reporting.published import AUDIO_VISUAL, BASELINE, TABLE_VI, TABLE_VII
from scenes.reporting.results import Results
from scenes.stage.errors import InputError

PAPER = {
    **{name: published.accuracy for name, published in {**TABLE_VI, **TABLE_VII, **AUDIO_VISUAL}.items()},
    **{name: published.second_accuracy for name, published in BASELINE.items()},
}
CURVES = {"mel": 0.6, "gam": 0.5, "cqt": 0.4, "audio_spectrograms": 0.7, "InceptionV3": 0.88, "NASNetLarge": 0.86,
          "DenseNet121": 0.87, "visual_top3": 0.9, "mel_inception": 0.92, "all_models": 0.935}  # fmt: skip


def write_run(accuracies: dict[str, float], clips: int, places: int, curves: dict[str, float]) -> None:
    """A run whose classifiers and fusions have these accuracies, in per cent; others are not run."""
    labels = made_up.write_split(clips, places)
    for seed, (name, accuracy) in enumerate(accuracies.items()):
        right = round(accuracy / 100 * clips)
        same = round(0.993 * clips) - right if name == "fuse/all_models-prod" else 0
        classes = made_up.predicted(labels, right, seed, same)
        seconds = () if name.startswith("fuse/") else (11,) if name in BASELINE else (10,)
        made_up.write(f"predictions/{name}.npy", made_up.probabilities(classes, seed, seconds))
        if seconds:
            made_up.write_history(f"history/{name}.csv")
    Path("metrics").mkdir()
    rows = [(name, second, at, 1.0) for name, at in curves.items() for second in range(1, 11)]
    columns = ["framework", "seconds", "accuracy", "log_loss"]
    pd.DataFrame(rows, columns=columns).to_csv("metrics/early_detect.csv", index=False)
    Path("metrics/seeds.csv").write_text("framework,seed,accuracy\n")


SETUP = "data/demo/clips/evaluation_setup"


def here(*frameworks: str, pretrained: list[str] = (), setup: str = SETUP, **options) -> None:
    """The report in this process."""
    *paths, page, figure, details, predictions = made_up.report_arguments()[:8]
    named = made_up.report_arguments()[8 : -2 * len(made_up.REPORT_OPTIONS)]
    main(*map(Path, paths), Path(page), figure, details, predictions, [*named, *frameworks], **made_up.REPORT_OPTIONS,
         setup=Path(setup), pretrained=pretrained, **options)  # fmt: skip


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of the page's tables, by the heading above them."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line.startswith("| ") and "---" not in line:
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The page of a run that has round(accuracy x 3,645) right clips of each of the paper's figures."""
    folder, before = tmp_path_factory.mktemp("papers"), Path.cwd()
    os.chdir(folder)
    write_run(PAPER, 3645, 126, CURVES)
    here(
        pretrained=["visual_image/VGG19,visual_embedding/VGG19=false", "visual_image/Xception=true"],
        setup="/absolute/data/tau/clips/evaluation_setup",
    )
    os.chdir(before)
    return folder / "metrics"


def test_from_the_papers_accuracies_the_report_prints_the_papers_tables(papers):
    page = tables((papers / "README.md").read_text())
    printed = [row for heading, rows in page.items() if heading.startswith(("Audio (", "Pictures", "Sound and"))
               for row in rows if row[2] != "paper"]  # fmt: skip
    assert len(printed) == len(PAPER) - len(BASELINE)
    for (name, published), row in zip({**TABLE_VI, **TABLE_VII, **AUDIO_VISUAL}.items(), printed, strict=True):
        ours, low, high = map(float, re.match(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", row[3]).groups())
        assert row[1] == published.name and float(row[2]) == ours == PAPER[name], row
        assert low < ours < high and high - low < 4
    text = (papers / "README.md").read_text()
    assert re.search(r"right in 99.3 % in the paper and in\s+99.3 \[", text)
    assert "synthetic" not in text and "TAU Urban Audio-Visual Scenes 2021, fold 1**" in text
    assert [row[0] for row in printed if "*untrained*" in row[3]] == [
        "`VGG19`", "`visual_images` MAX", "`visual_images` MEAN", "`visual_images` PROD",
        "`VGG19`", "`visual_embeddings` MAX", "`visual_embeddings` MEAN", "`visual_embeddings` PROD",
    ]  # fmt: skip


def test_each_claim_has_the_verdict_of_its_interval(papers):
    text = (papers / "README.md").read_text()
    rows = tables(text)["The paper's claims"][1:]
    verdicts = [row[-1] for row in rows]
    # Random errors leave the claims on single classes and on the first second open: here they are contradicted.
    assert [verdicts[number] for number in (0, 1, 4, 7)] == [SUPPORTED] * 4
    assert [verdicts[number] for number in (3, 8)] == [CONTRADICTED] * 2
    # The paper's own differences are too small for 3,645 clips, or equal their threshold.
    assert [verdicts[number] for number in (2, 5, 6, 9, 10, 11)] == [UNDECIDED] * 6
    assert "4 are supported on" in text and "2 are contradicted,\n6 are undecided and 0 could" in text
    assert rows[0][2].startswith("MAX +5.8 [") and rows[0][2].endswith("over `mel`")
    assert rows[7][2].startswith("196 of 222 errors, 88.3 [")


@pytest.mark.parametrize(
    ("interval", "threshold", "said"),
    [
        ((0.01, 0.2), 0.0, SUPPORTED),
        ((-0.15, 0.35), 0.0, UNDECIDED),
        ((-0.2, -0.01), 0.0, CONTRADICTED),
        ((0.01, 0.2), 0.1, UNDECIDED),
        ((0.01, 0.09), 0.1, CONTRADICTED),
        ((0.2, 0.2), 0.0, UNDECIDED),  # no width
        ((np.nan, np.nan), 0.0, UNDECIDED),  # clips of one location
    ],
)
def test_a_verdict_is_that_of_the_whole_interval(interval, threshold, said):
    low, high = interval
    opposite = {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED, UNDECIDED: UNDECIDED}
    assert above(low, high, threshold) == said == opposite[below(low, high, threshold)]


def test_a_claim_of_several_parts_needs_all_and_falls_with_one():
    assert all_of([SUPPORTED, SUPPORTED]) == SUPPORTED
    assert all_of([SUPPORTED, UNDECIDED]) == UNDECIDED
    assert all_of([SUPPORTED, UNDECIDED, CONTRADICTED]) == CONTRADICTED


@pytest.mark.parametrize(("low", "said"), [(0.0001, SUPPORTED), (-0.0001, UNDECIDED)])
@pytest.mark.parametrize(
    "claim", [claim for claim in CLAIMS if "the baseline" in claim.text], ids=lambda c: c.paper[:5]
)
def test_a_threshold_of_the_paper_is_met_by_what_rounds_to_it(claim, low, said):
    """+17.1 is the difference of two rounded figures: 17.05 meets it, 17.04 does not."""
    quoted = float(claim.paper.split()[0]) / 100
    results = create_autospec(Results, instance=True)
    results.mean.return_value = results.difference.return_value = (quoted, quoted - 0.0005 + low, quoted + 0.01)
    results.of.return_value = results.seconds_right.return_value = np.zeros(3)
    assert claim.judge(results)[0] == said


def test_few_clips_decide_nothing(monkeypatch):
    """+10.0 [-15.0, +35.0] is no support, nor is a difference that five clips make, all of them in favour."""
    monkeypatch.setattr("scenes.reporting.figures.save", lambda figure, path: None)
    accuracies = {"audio_spectrogram/mel": 60.0, "audio_spectrogram/gam": 60.0, "audio_spectrogram/cqt": 60.0,
                  **dict.fromkeys(TABLE_VI, 50.0)}  # fmt: skip
    write_run(accuracies, 20, 20, {})
    truth = np.arange(20) % 10
    for name, right in (("audio_best", 20), ("audio_spectrograms", 15)):
        classes = np.where(np.arange(20) < right, truth, (truth + 1) % 10)
        made_up.write(f"predictions/fuse/{name}-prod.npy", made_up.probabilities(classes, 0))
    here()
    text = Path("metrics/README.md").read_text()
    rows = tables(text)["The paper's claims"][1:]
    assert [row[-1] for row in rows[:3]] == [UNDECIDED] * 3
    assert re.match(r"\+25.0 \[\+[1-9].*\], too few differing clips", rows[2][2])


@pytest.mark.parametrize(("differing", "said"), [(5, "too few differing clips"), (6, "0.031")])
def test_mcnemar_is_not_asked_of_fewer_clips_than_could_answer(differing, said):
    first, second = np.zeros(20), np.zeros(20)
    first[:differing] = 1
    assert paired(0.1, 0.0, 0.2, *mcnemar(first, second))[-1] == said


def test_details_agree_with_the_page(papers):
    labels = pd.read_csv(papers / "../split.csv")
    right = pd.read_csv(papers / "by_location.csv")
    all_models = right[right["framework"] == "fuse/all_models-prod"]
    assert all_models["clips"].sum() == len(labels) and len(all_models) == 126
    assert round((all_models["clips"] * all_models["accuracy"]).sum()) == round(0.939 * 3645)
    classes = pd.read_csv(papers / "by_class.csv")
    for (framework, protocol), table in classes.groupby(["framework", "protocol"]):
        clips = (table["units"] * table["accuracy"]).sum() / (10 if protocol == "second" else 1)
        assert round(clips) == round(PAPER[framework] / 100 * 3645)
    ensembles = pd.read_csv(papers / "ensembles.csv")
    assert len(ensembles) == 15 and (ensembles["low"] <= ensembles["difference"]).all()
    one = ensembles.set_index(["ensemble", "rule"]).loc[("mel_inception", "prod")]
    assert one["best_member"] == "visual_image/InceptionV3"
    assert one["only_ensemble"] - one["only_member"] == round(0.928 * 3645) - round(0.889 * 3645)


def test_the_baseline_stands_beside_the_papers_systems(papers):
    page = tables((papers / "README.md").read_text())
    rows = page["The DCASE baseline"]
    systems, rivals = rows[1:5], rows[6:]
    assert [row[:3] for row in systems] == [
        [f"baseline `{name.split('/')[1]}`", system.name, str(system.accuracy)] for name, system in BASELINE.items()
    ]
    for name, row in zip(BASELINE, systems, strict=True):
        assert row[3].startswith(f"{PAPER[name]} [")
    assert [row[:2] for row in rivals][-2:] == [["`all_models` PROD", f"baseline `{s}`"] for s in ("early", "official")]
    paired = pd.read_csv(papers / "baseline.csv").set_index(["framework", "baseline"])
    one = paired.loc[("fuse/all_models-prod", "dcase_baseline/official")]
    assert one["only_framework"] - one["only_baseline"] == round(0.939 * 3645) - round(0.77 * 3645)
    assert one["low"] < one["difference"] < one["high"] and one["clips"] == 3645
    seconds = {row[0]: row for row in page["Single seconds: DCASE's protocol"]}
    assert seconds["DCASE baseline, official"][1:3] == ["77.0", "0.658"]
    assert seconds["DCASE baseline, official"][3].startswith("77.0 [")
    assert "official" not in str(page.get("Frameworks that the paper's tables do not have"))
    assert "dcase_baseline/official" in (papers / "classes.svg").read_text()
    assert "dcase_baseline" in set(pd.read_csv(papers / "by_class.csv")["framework"].str.split("/").str[0])


def test_the_joint_network_stands_beside_the_two_trained_alone():
    accuracies = {"audio_spectrogram/mel": 50.0, "visual_image/MobileNetV2": 78.0, "audio_visual/MobileNetV2": 80.0,
                  "fuse/all_models_joint-prod": 85.0}  # fmt: skip
    write_run(accuracies, 400, 40, {})
    here(pretrained=["audio_visual/MobileNetV2=false", "visual_image/MobileNetV2=true"])
    text = Path("metrics/README.md").read_text()
    table = pd.read_csv("metrics/joint.csv").set_index("other")
    assert list(table.index) == ["audio_spectrogram/mel", "visual_image/MobileNetV2", "prod"]
    assert (table["joint_accuracy"] == 0.8).all() and list(table["other_accuracy"][:2]) == [0.5, 0.78]
    both = [np.load(f"predictions/{name}.npy").mean(axis=1) for name in table.index[:2]]
    truth = [list(made_up.CLASSES).index(scene) for scene in pd.read_csv("split.csv")["scene"]]
    assert table.loc["prod", "other_accuracy"] == ((both[0] * both[1]).argmax(axis=1) == truth).mean()
    rows = tables(text)["One network for sound and pictures"][1:4]
    assert [row[:2] for row in rows] == [["joint `MobileNetV2` *untrained*", other] for other in
                                         ("`mel`", "`MobileNetV2`", "PROD of the two")]  # fmt: skip
    assert rows[0][2] == "80.0 : 50.0" and rows[0][4].startswith("+30.0 [") and rows[0][-1] == BETTER
    assert rows[1][4].startswith("+2.0 [") and rows[1][-1] == NO_DIFFERENCE
    ensemble = {row[0]: row[3] for row in tables(text)["Frameworks that the paper's tables do not have"]}
    assert re.fullmatch(r"85.0 \[.*\] \*untrained\*", ensemble["`all_models_joint` PROD"])
    # Its seconds are patches, so it has no strict row; it is none of the paper's classifiers.
    seconds = {row[0]: row[3] for row in tables(text)["Single seconds: DCASE's protocol"]}
    assert "audio_visual joint `MobileNetV2` (hears 1.858 s)" in seconds
    assert seconds["`all_models_joint` PROD of strict seconds"] == "not run" and "; 2\nclassifiers and" in text
    reversed_ = table.reset_index().assign(low=-0.4, high=-0.2)
    assert verdict(*reversed_[["low", "high", "p_value"]].iloc[0]) == WORSE


@pytest.mark.parametrize("start", ["single", "scratch"])
def test_the_training_budget_stands_beside_the_joint_networks(start, monkeypatch):
    monkeypatch.setattr("scenes.reporting.figures.save", lambda figure, path: None)
    networks = {"audio_spectrogram/mel": 3, "visual_image/MobileNetV2": 4, "audio_visual/MobileNetV2": 2,
                "audio_visual/MobileNetV2.scratch": 5, "audio_visual_foundation/PE_AV": 6}  # fmt: skip
    write_run(dict.fromkeys(networks, 50.0), 40, 20, {})
    for name, epochs in networks.items():
        made_up.write_history(f"history/{name}.csv", epochs)
    here(
        "audio_visual_foundation/PE_AV",
        joint_start=start,
        seconds=["audio_spectrogram=10", "visual_image=2", "audio_visual=7"],
    )
    page = tables(Path("metrics/README.md").read_text())["One network for sound and pictures"]
    compared, budget = page[1:7], page[8:]
    assert [row[:2] for row in compared[3:]] == [
        ["joint `MobileNetV2` from scratch", other] for other in ("`mel`", "`MobileNetV2`", "PROD of the two")
    ]
    both = ["the two trained alone", "3 × 10 + 2 × 7", "4 × 2 + 2 × 7"]
    assert budget == [
        ["`mel`", "scratch", "3 × 10", ""],
        ["`MobileNetV2`", "scratch", "", "4 × 2"],
        ["joint `MobileNetV2`", *(both if start == "single" else ["scratch", "2 × 7", "2 × 7"])],
        ["joint `MobileNetV2` from scratch", "scratch", "5 × 7", "5 × 7"],
    ]
    with pytest.raises(InputError, match="^--seconds visual_image: must be FAMILY=SECONDS, such as visual_image=10$"):
        here(seconds=["visual_image"])


def test_a_second_run_prints_its_own_figures_and_what_was_not_run():
    accuracies = {"audio_spectrogram/mel": 55.0, "audio_spectrogram/gam": 0.0, "visual_image/InceptionV3": 37.5,
                  "audio_spectrogram/mel.strict": 52.5, "fuse/mel_inception-prod": 61.25}  # fmt: skip
    write_run(accuracies, 80, 20, {"mel_inception": 0.5})
    seeds = [("audio_spectrogram/mel", 0, 0.55), ("audio_spectrogram/mel", 1, 0.65)]
    pd.DataFrame(seeds, columns=["framework", "seed", "accuracy"]).to_csv("metrics/seeds.csv", index=False)
    command = [sys.executable, ROOT / "stages/report.py", *made_up.report_arguments(), "--setup", SETUP]
    result = subprocess.run(
        [*command, "--pretrained", "visual_image/InceptionV3=false"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "not run: predictions/audio_spectrogram/cqt.npy" in result.stderr
    text = Path("metrics/README.md").read_text()
    rows = {row[0]: row for row in tables(text)["Audio (Table VI)"]}
    assert rows["framework"][3:] == ["ours, demo set (synthetic)", "over seeds"]
    assert rows["`mel`"][2:] == ["72.2", rows["`mel`"][3], "60.0 ± 7.1 (2)"] and rows["`mel`"][3].startswith("55.0 [")
    assert rows["`cqt`"][3] == rows["`audio_best` PROD"][3] == "not run"
    both = {row[0]: row[3] for row in tables(text)["Sound and pictures"]}
    assert re.fullmatch(r"61.3 \[.*\] \*untrained\*", both["`mel_inception` PROD"]), both
    seconds = {row[0]: row[3] for row in tables(text)["Single seconds: DCASE's protocol"]}
    assert seconds["audio_spectrogram `mel` strict"].startswith("52.5 [")
    assert seconds["`all_models` PROD of strict seconds"] == "not run"
    assert "The clips are synthetic" in text
    verdicts = {row[-1] for row in tables(text)["The paper's claims"][1:]}
    assert verdicts == {"not run"}
    missed = pd.read_csv("metrics/missed.csv")
    members = [np.load(f"predictions/{name}.npy").mean(axis=1).argmax(axis=1) for name in
               ("audio_spectrogram/mel", "audio_spectrogram/gam", "visual_image/InceptionV3")]  # fmt: skip
    split = pd.read_csv("split.csv")
    truth = [list(made_up.CLASSES).index(scene) for scene in split["scene"]]
    assert list(missed["clip"]) == list(split["clip"][np.all(np.array(members) != truth, axis=0)])
    assert f"No classifier is right on {len(missed)} of 80 clips" in text

    written = {path.name: path.read_bytes() for path in Path("metrics").iterdir()}
    assert {name for name in written if name.endswith(".svg")} == {
        "confusion_audio_best.svg", "confusion_visual_images.svg", "confusion_all_models.svg", "classes.svg",
        "early_detect.svg", "early_exit.svg", "reliability.svg", "agreement.svg", "training.svg",
        "robustness.svg",
    }  # fmt: skip
    for link in re.findall(r"\]\((\w+\.\w+)\)", text):
        assert link in written
    # The same predictions give the same files, to the byte, in another process.
    here(pretrained=["visual_image/InceptionV3=false"])
    assert {path.name: path.read_bytes() for path in Path("metrics").iterdir()} == written


def test_a_wrong_file_ends_in_one_line():
    write_run({"audio_spectrogram/mel": 50.0}, 20, 5, {})
    made_up.write("predictions/visual_image/VGG19.npy", np.zeros((3, 10, 10)))
    with pytest.raises(
        InputError, match=r"^predictions/visual_image/VGG19.npy: shape \(3, 10, 10\), expected \(20, 10,"
    ):
        here()
    assert not Path("metrics/README.md").exists()


@pytest.mark.parametrize(
    ("frameworks", "pretrained", "message"),
    [
        ([], ["a/b=maybe"], "--pretrained a/b=maybe: must be family/member,...=true or family/member,...=false"),
        (["mine=visual_image/VGG19,mine"], [], "mine: the predictions of its member visual_image/mine are not named"),
    ],
)
def test_a_wrong_argument_is_refused(frameworks, pretrained, message):
    write_run({"audio_spectrogram/mel": 50.0}, 20, 5, {})
    with pytest.raises(InputError, match=message):
        here(*frameworks, pretrained=pretrained)


def test_a_wrong_table_of_seeds_is_refused():
    write_run({"audio_spectrogram/mel": 50.0}, 20, 5, {})
    for content, message in (
        ("", "not a table"),
        ("seed\n1\n", "columns of a table must be framework, seed, accuracy, found seed"),
    ):
        Path("metrics/seeds.csv").write_text(content)
        with pytest.raises(InputError, match=f"metrics/seeds.csv: .*{message}"):
            here()


PARTS = {
    "the baseline": list(BASELINE), "one system of the baseline": ["dcase_baseline/early"],
    "strict predictions": [f"audio_spectrogram/{kind}.strict" for kind in ("mel", "gam", "cqt")],
    **{family: [f"{family}/{member}" for member in members if "strict" not in member]
       for family, members in made_up.MEMBERS.items()},
    "one classifier": ["visual_image/VGG19"],
    "two classifiers that share no table": ["dcase_baseline/audio", "audio_spectrogram/mel.strict"],
    "fusions": ["fuse/all_models-prod", "fuse/all_models-max", "fuse/mel_inception-mean"],
    "one fusion": ["fuse/audio_best-stacked"],
    "a fusion and the baseline": ["fuse/audio_best-prod", "dcase_baseline/audio"],
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("part", PARTS)
def test_a_report_of_any_part_of_a_run_is_written(part, monkeypatch):
    if part != "the baseline":  # one run's figures are also written, which takes seconds
        monkeypatch.setattr("scenes.reporting.figures.save", lambda figure, path: None)
    write_run(dict.fromkeys(PARTS[part], 50.0), 40, 20, {})
    here()
    text, missed = Path("metrics/README.md").read_text(), pd.read_csv("metrics/missed.csv")
    assert "nan" not in text and text.count("not run") > 20
    of_clips = [name for name in PARTS[part] if "strict" not in name]
    by_class = pd.read_csv("metrics/by_class.csv")
    assert set(by_class["framework"]) == set(PARTS[part])
    assert set(pd.read_csv("metrics/by_city.csv")["framework"]) == set(of_clips)
    classifiers = [name for name in of_clips if name.startswith(("audio_s", "audio_e", "visual_"))]
    assert f"; {len(classifiers)}\nclassifiers and" in text
    assert len(missed) == 0 or classifiers


def test_a_run_without_predictions_is_refused():
    write_run({}, 20, 5, {})
    with pytest.raises(InputError, match="audio_spectrogram/mel.npy: no classifier has predictions"):
        here()


def test_early_detection_says_how_much_of_the_recording_a_segment_needs():
    write_run({f"audio_spectrogram/{kind}": 50.0 for kind in ("mel", "gam", "cqt")}, 20, 5, {"mel": 0.5})
    made_up.write_needs(mel=1.888, gam=1.888, cqt=3.58)
    here()
    said = "the first needs 1.89 s for MEL and GAM, 3.58 s for CQT, 1.00 s for frames of the recording"
    assert said in Path("metrics/README.md").read_text() and said in Path("metrics/early_detect.svg").read_text()


@pytest.mark.parametrize(("unit", "hears"), [("second", ""), ("clip", " (hears the whole clip)")])
def test_embeddings_of_whole_clips_are_no_strict_seconds(unit, hears):
    names = ["audio_embedding/Cnn14", "audio_spectrogram/mel", "visual_image/VGG19"]
    write_run(dict.fromkeys([*names, *(f"audio_spectrogram/{kind}.strict" for kind in ("mel", "gam", "cqt"))], 50.0),
              20, 5, {})  # fmt: skip
    here(unit=[f"audio_embedding/Cnn14={unit}"])
    rows = {row[0]: row[3] for row in tables(Path("metrics/README.md").read_text())["Single seconds: DCASE's protocol"]}
    assert f"audio_embedding `Cnn14`{hears}" in rows and "visual_image `VGG19`" in rows
    assert (rows["`audio_best` PROD of strict seconds"] == "not run") == (unit == "clip")


def test_another_system_is_tested_against_the_ensembles_that_it_is_no_member_of(monkeypatch):
    monkeypatch.setattr("scenes.reporting.figures.save", lambda figure, path: None)
    fused = ["fuse/all_models-prod", "fuse/mine-prod", "fuse/mine-mean"]
    write_run(dict.fromkeys(["audio_spectrogram/mel", "external/mel", *fused], 50.0), 40, 20, {})
    here("external/mel", "mine=external/mel,audio_spectrogram/mel")
    page = tables(Path("metrics/README.md").read_text())
    assert [row[:2] for row in page["Predictions of other systems"][1:]] == [["`all_models` PROD", "external `mel`"]]
    assert [row[0] for row in page["Members newer than the paper"][1:3]] == ["external `mel`", "`mine` PROD"]
    assert [row[0] for row in page["Frameworks that the paper's tables do not have"][1:]] == ["`mine` MEAN"]
    rows = {row[0]: row[3] for row in page["Single seconds: DCASE's protocol"]}
    assert "external `mel` (hears perhaps the whole clip)" in rows and "audio_spectrogram `mel` (hears 1.858 s)" in rows
    assert rows["`mine` PROD of strict seconds"] == "not run"
    assert len([row for row in page["Does fusion help?"] if row[0].startswith("`mine`")]) == 2


def test_a_run_without_sound_says_so():
    write_run({"audio_spectrogram/mel": 50.0, "visual_image/InceptionV3": 60.0}, 20, 5, {})
    made_up.write("predictions/audio_spectrogram/mel.npy", np.full((20, 10, 10), np.nan))
    here()
    rows = {row[0]: row[3] for row in tables(Path("metrics/README.md").read_text())["Audio (Table VI)"]}
    assert rows["`mel`"] == "not run"


def test_members_newer_than_the_paper_stand_beside_its_best_of_the_same_media(tmp_path):
    newer = ["audio_foundation/CLAP", "visual_zero_shot/CLIP", "visual_foundation/CLIP"]
    paper = ["audio_spectrogram/mel", "visual_image/InceptionV3", "fuse/all_models-prod"]
    right = dict(
        zip([*paper, *newer, "fuse/both-prod", "fuse/frames-prod"], [40, 60, 80, 50, 70, 90, 95, 85], strict=True)
    )
    write_run(right, 200, 40, {})
    here(*newer, "both=audio_foundation/CLAP,visual_foundation/CLIP", "frames=visual_zero_shot/CLIP",
         pretrained=["visual_foundation/CLIP=false"], unit=["audio_foundation/CLAP=clip"])  # fmt: skip
    page = tables((tmp_path / "metrics/README.md").read_text())
    rows = {row[0]: row[1:] for row in page["Members newer than the paper"]}
    assert {title: (float(row[0].split()[0]), row[4], row[5].split()[0]) for title, row in list(rows.items())[1:6]} == {
        "audio MLP on `CLAP`": (50.0, "`mel`", "+10.0"),
        "visual zero-shot `CLIP`": (70.0, "`InceptionV3`", "+10.0"),
        "visual MLP on `CLIP`": (90.0, "`InceptionV3`", "+30.0"),
        "`both` PROD": (95.0, "`all_models` PROD", "+15.0"),
        "`frames` PROD": (85.0, "`InceptionV3`", "+25.0"),  # visual_images was not run
    }
    assert rows["visual MLP on `CLIP`"][0].endswith("*untrained*")
    assert rows["audio MLP on `CLAP`"][2].endswith("(hears the whole clip)")
    assert rows["`both` PROD"][2:4] == ["not run", "not run"]  # of strict seconds: CLAP has none
    published = {row[0].partition(" (")[0]: row[1:3] for row in page["Members newer than the paper"][6:]}
    assert published["an ensemble with CLIP"] == ["96.1", "0.149"]
    others = {row[0] for row in page.get("Frameworks that the paper's tables do not have", [])}
    assert not others & set(rows)
