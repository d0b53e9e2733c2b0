"""Predictions of another system: every accepted form says the same, every fault is one line, and they are a member."""

import json
import re
import shutil
from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
import submission
import yaml
from conftest import ROOT, run
from dvc.repo import Repo

from scenes.app.members import load, read_run
from scenes.dataset.tables import read_classes, read_split
from scenes.evaluation.external import read_external
from scenes.rehearsal.setting import one_step
from scenes.stage.errors import InputError

CLASSES = list(made_up.CLASSES)


@pytest.fixture
def said() -> np.ndarray:
    """What a system says of the seconds of 20 clips, of which 5 are validation clips; a train clip is in split.csv."""
    labels = made_up.write_split(20, 20, validation=5)
    split = pd.read_csv("split.csv")
    train = split[:1].assign(clip="airport-oslo-99-99", location="99", fold="train")
    pd.concat([split[:7], train, split[7:]]).to_csv("split.csv", index=False)
    return made_up.probabilities(labels, 0, (10,)).astype(np.float64)


def clips() -> list[str]:
    split = pd.read_csv("split.csv")
    return list(split["clip"][split["fold"] != "train"])


def per_clip(probabilities: np.ndarray) -> pd.DataFrame:
    """A table as another system's authors would write it, of `[clips, classes]`."""
    table = pd.DataFrame(probabilities, columns=CLASSES)
    table.insert(0, "filename", [f"{clip}.wav" for clip in clips()])
    return table


def per_second(probabilities: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(probabilities.reshape(-1, len(CLASSES)), columns=CLASSES)
    table.insert(0, "filename", np.repeat([f"{clip}.wav" for clip in clips()], 10))
    return table.assign(second=np.tile(range(10), len(probabilities)))


def read(path: str) -> np.ndarray:
    return read_external(Path(path), read_split(Path("split.csv")), read_classes(Path("classes.csv")))


def of_stage(path: str) -> tuple[int, str]:
    files = "split.csv", "classes.csv", path, "out/p.npy", "out/c.csv", "out/m.json"
    result = run("predict_external.py", *files)
    return result.returncode, result.stderr


def in_folders(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(filename="audio/" + table["filename"])


def of_windows(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(filename="C:\\audio\\" + table["filename"])


def without_ending(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(filename=table["filename"].str.removesuffix(".wav"))


def in_any_order(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=0).iloc[:, ::-1]


def with_labels_and_other_clips(table: pd.DataFrame) -> pd.DataFrame:
    """Labels that are not the most probable ones, and wrong rows of clips that are not asked for."""
    others = table[:2].assign(filename=["airport-oslo-99-99.wav", "elsewhere.wav"], airport=7)
    return pd.concat([others, table]).assign(scene_label="tram")


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: (0.995 * table[name]).map("{:.7f}".format) for name in CLASSES})


@pytest.mark.parametrize("sep", ["\t", ","])
@pytest.mark.parametrize("form", [per_clip, per_second])
@pytest.mark.parametrize(
    "change", [in_folders, of_windows, without_ending, in_any_order, with_labels_and_other_clips, rounded]
)
def test_a_table_in_any_form_gives_each_clip_its_probabilities(said, change, form, sep):
    given = said if form is per_second else said.mean(axis=1)
    change(form(given)).to_csv("other.csv", sep=sep, index=False)
    found = read("other.csv")
    assert found.dtype == np.float32 and found.shape == (20, 10, 10)
    np.testing.assert_allclose(found, said if form is per_second else np.repeat(given[:, None], 10, axis=1), atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", ">f8"])
@pytest.mark.parametrize("seconds", [True, False])
def test_an_array_may_be_of_clips_or_of_seconds_and_leave_clips_out(said, seconds, dtype, capsys):
    given = said if seconds else said.mean(axis=1)
    given[3] = np.nan
    np.save("other.npy", given.astype(dtype))
    found = read("other.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, given if seconds else np.repeat(given[:, None], 10, axis=1), atol=1e-3)
    np.testing.assert_allclose(found[:3].sum(axis=-1), 1, atol=1e-6)
    assert of_stage("other.npy") == (0, "warning: other.npy: 1 of 20 clips have no prediction (NaN)\n")
    assert (
        json.loads(Path("out/m.json").read_text())["clips"] == 15
    )  # of the evaluate clips; the other is a validation clip


def edited(column: str, value: object, row: int = 6):
    """The table with another value in one field."""

    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return edit


FIRST, SIXTH, SEVENTH = "airport-barcelona-0-0", "public_square-barcelona-5-5", "shopping_mall-barcelona-6-6"
NO_PROBABILITY = "a probability is negative or not a finite number; write probabilities from 0 to 1, not logits or log"
ROWS = "give one row per clip, or ten with second 0 to 9"
BAD = {
    "a clip is missing": (
        per_clip, lambda table: table.drop([6]), f"{SEVENTH}: missing, evaluate fold; add every clip of split.csv"),
    "validation clips are missing": (
        per_clip, lambda table: table[5:], f"{FIRST} and 4 more: missing, validation fold; add every clip of "),
    "no clip is known": (per_clip, edited("filename", "a.wav", slice(None)), f"{FIRST} and 19 more: missing, "),
    "a clip is given twice": (
        per_clip, lambda table: pd.concat([table, table[5:7]]), f"{SIXTH}: given twice; {ROWS}"),
    "a second is given twice": (per_second, edited("second", 3, 64), f"{SEVENTH} second 3: given twice; {ROWS}"),
    "a second is missing": (
        per_second, lambda table: table.drop([64]), f"{SEVENTH} second 4: missing; {ROWS}"),
    "a second is out of range": (
        per_second, edited("second", 10, 64), f"{SEVENTH} second 10: not a whole number from 0 to 9; {ROWS}"),
    "rows do not sum to 1": (per_clip, edited("bus", 0.5), f"{SEVENTH}: the probabilities sum to 1.4"),
    "a second does not sum to 1": (per_second, edited("bus", 0.5, 64), f"{SEVENTH}: the probabilities sum to 1.4"),
    **{f"a probability is {value}": (per_clip, edited("bus", value), f"{SEVENTH}: {NO_PROBABILITY}")
       for value in (-0.1, "nan", "inf", "", "0,1", "1e999", "bus")},
    "a clip is empty": (
        per_clip, lambda table: table.assign(**{name: table[name].mask(table.index == 6) for name in CLASSES}),
        f"{SEVENTH}: {NO_PROBABILITY}"),
    "a class is unknown": (
        per_clip, lambda table: table.assign(beach=0.0), "the column 'beach' is not a class of dataset.classes; the "),
    "a class is missing": (
        per_clip, lambda table: table.drop(columns="park"), "no column for the class park; the columns, separated by "),
    "a class has another name": (
        per_clip, lambda table: table.rename(columns={"park": "Park"}), "no column for the class park; the columns, "),
    "files are not named": (
        per_clip, lambda table: table.drop(columns="filename"), "a table without the column filename, with airport, "),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_table_is_refused_in_one_line(said, fault):
    form, change, message = BAD[fault]
    change(form(said if form is per_second else said.mean(axis=1))).to_csv("other.csv", index=False)
    code, line = of_stage("other.csv")
    assert code == 1 and line.startswith(f"error: other.csv: {message}") and line.count("\n") == 1, line
    assert not Path("out").exists()


ARRAYS = {
    "other clips": (lambda said: said[1:], "float64 (19, 10, 10), expected numbers (20, 10) or (20, 10, 10); write "),
    "a clip too many": (lambda said: np.concatenate([said, said[:1]]), "float64 (21, 10, 10), expected numbers "),
    "other classes": (lambda said: said[..., :9], "float64 (20, 10, 9), expected numbers (20, 10) or (20, 10, 10)"),
    "text": (lambda said: said.astype(str), "<U32 (20, 10, 10), expected numbers"),
    "a second without prediction": (
        lambda said: np.where(np.arange(200).reshape(20, 10, 1) == 64, np.nan, said), f"{SEVENTH}: {NO_PROBABILITY}"),
    "logits": (lambda said: np.log(said), f"{FIRST} and 19 more: {NO_PROBABILITY}"),
    "sums of 0": (lambda said: 0 * said, f"{FIRST} and 19 more: the probabilities sum to 0, not to 1; divide each row"),
    "pickles": (lambda said: said.astype(object), "not a whole .npy array of numbers (Array can't be memory-mapped"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ARRAYS)
def test_a_bad_array_is_refused_in_one_line(said, fault):
    change, message = ARRAYS[fault]
    np.save("other.npy", change(said), allow_pickle=True)
    code, line = of_stage("other.npy")
    assert code == 1 and line.startswith(f"error: other.npy: {message}") and line.count("\n") == 1, line
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other.npy", b"", "not a whole .npy array of numbers"),
        ("other.npy", b"PK\3\4", "not a whole .npy array of numbers"),
        ("other.csv", b"", "not a table ("),
        ("other.csv", b"\x80\x04\x95\xff\xfe", "not a table ("),
        ("other.csv", b"filename,airport\na.wav,1,2\na.wav,1,2,3\n", "not a table ("),
        ("other.csv", b"filename,airport\na.wav,0,1\n", "not a table ("),  # or the surplus field would be left out
        ("other.csv", b"filename;airport\na.wav;1\n", "a table without the column filename, with filename;airport"),
        ("absent.csv", None, "No such file or directory"),
    ],
)
def test_what_is_neither_table_nor_array_is_refused_in_one_line(said, name, content, message):
    if content is not None:
        Path(name).write_bytes(content)
    code, line = of_stage(name)
    assert code == 1 and line.startswith(f"error: {name}: {message}") and line.count("\n") == 1, line


def test_a_truncated_array_is_refused(said):
    np.save("other.npy", said)
    Path("other.npy").write_bytes(Path("other.npy").read_bytes()[:-8])
    with pytest.raises(InputError, match="other.npy: not a whole .npy array of numbers"):
        read("other.npy")


def test_a_submission_of_ours_comes_back_with_its_scores(said):
    """What `submission.py write` writes of an ensemble has the ensemble's figures, of seconds too."""
    np.save("fused.npy", said.mean(axis=1).astype(np.float32))
    split = pd.read_csv("split.csv")
    split.assign(audio="data/" + split["clip"] + ".wav")[split["fold"] != "train"].to_csv("new.csv", index=False)
    submission.write(Path("new.csv"), Path("classes.csv"), Path("fused.npy"), Path("submission.csv"))
    assert of_stage("submission.csv") == (0, "")
    np.testing.assert_allclose(np.load("out/p.npy"), np.repeat(said.mean(axis=1)[:, None], 10, axis=1), atol=1e-5)
    metrics = json.loads(Path("out/m.json").read_text())
    assert metrics["clips"] == 15 and metrics["accuracy"] == metrics["second_accuracy"] == 1
    assert metrics["log_loss"] == pytest.approx(metrics["second_log_loss"])
    assert len(Path("out/c.csv").read_text().splitlines()) == 16


@pytest.fixture
def _pipeline() -> None:
    Repo.init(no_scm=True).close()
    for name in ("dvc.yaml", "data/demo/dvc.yaml", "data/robustness/dvc.yaml", "data/tau/dvc.yaml", ".dvc/config"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)


def generate(external: dict, ensemble: list[str]) -> str:
    """What the generator says of the demo's params with these other systems and an ensemble of these members."""
    numbers = yaml.safe_load((ROOT / "params.yaml").read_text())
    numbers["external"], numbers["ensembles"]["with_other"] = external, ensemble
    Path("params.yaml").write_text(yaml.safe_dump(numbers, sort_keys=False))
    result = run("pipeline.py")
    assert (result.returncode != 0) == (result.stderr != "")
    return result.stderr


@pytest.mark.usefixtures("_pipeline")
def test_an_entry_of_params_is_a_member_from_its_file_to_the_report():
    assert generate({"other": {"predictions": "own/their file.csv"}}, ["external/other", "audio_spectrogram/mel"]) == ""
    with Repo(config={"core": {"no_scm": True}}) as repo:
        stages = {stage.addressing: stage for stage in repo.index.stages}
        read_by = {name: {file.def_path for file in stage.deps} for name, stage in stages.items()}
    assert "own/their file.csv" in read_by["predict-external@other"]
    assert {str(file) for file in stages["predict-external@other"].outs} == {
        "data/predictions/external/other.npy", "data/confusion/external/other.csv", "metrics/external/other.json",
    }  # fmt: skip
    for name in ("fuse-with_other", "calibrate", "early-exit", "report"):
        assert "data/predictions/external/other.npy" in read_by[name], name
    assert "data/predictions/external/other.npy" in stages["calibrate"].cmd.split()
    for name in ("early-exit", "report"):
        assert "with_other=external/other,audio_spectrogram/mel" in stages[name].cmd.split()
    assert re.search(r" external/other ", stages["report"].cmd)
    assert not [name for name in stages if name.startswith("train-external")]


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize(
    ("external", "ensemble", "message"),
    [
        ({}, ["external/other"], "ensembles.with_other names external/other, which external lacks; add it there or"),
        *(({"other": entry}, ["audio_spectrogram/mel"], "external.other: must have the keys predictions")
          for entry in ("own.csv", {})),
        *(({"other": {"predictions": file, **more}}, ["audio_spectrogram/mel"], "external.other: predictions, its only")
          for file, more in ((3, {}), (None, {}), ("", {}), ('my "file".csv', {}), ("$HOME/a.csv", {}),
                             ("a", {"weights": "b"}))),
        *(({name: {"predictions": "a"}}, ["audio_spectrogram/mel"], f"external.{name}: rename it; a name is made of")
          for name in ("a,b", "a/b", "B.32", 1, True)),
        (["other"], ["audio_spectrogram/mel"], "a section is missing or empty (external); take it from the project's"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_is_refused_in_one_line(external, ensemble, message):
    line = generate(external, ensemble)
    assert line.startswith(f"error: params.yaml: {message}") and line.count("\n") == 1


def test_a_member_without_a_network_classifies_no_video():
    Path("params.yaml").write_text(yaml.safe_dump({"threads": 1, "external": {"other": {"predictions": "a.csv"}}}))
    with pytest.raises(
        InputError, match="external/other: holds predictions of another system and has no network to run"
    ):
        load(read_run(Path()), ["external/other"])


def test_a_rehearsal_leaves_other_systems_out():
    """Their predictions are of other clips than its handful."""
    numbers = yaml.safe_load((ROOT / "params.paper.yaml").read_text())
    numbers["external"] = {"other": {"predictions": "a.csv"}}
    numbers["ensembles"] |= {"mixed": ["external/other", "audio_spectrogram/mel"], "others": ["external/other"]}
    few = pd.DataFrame({"scene": ["bus", "bus"], "city": "oslo", "location": ["1", "2"], "fold": ["train", "evaluate"]})
    reduced = yaml.safe_load(one_step(numbers, few, set(), gpu=False, project=Path()))
    assert reduced["external"] == {} and reduced["ensembles"]["mixed"] == ["audio_spectrogram/mel"]
    assert reduced["ensembles"].keys() == numbers["ensembles"].keys() - {"others"}
