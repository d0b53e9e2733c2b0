"""The table of clips: setup files, folds, and what a bad setup file says."""

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
from conftest import noise, run, write_mp4, write_setup, write_wav
from hypothesis import example, given
from hypothesis import strategies as st

from scenes.dataset.tables import hold_out, open_rows, parse_classes, place, read_setup, read_split
from scenes.stage.errors import InputError

CLASSES = parse_classes(["bus:transportation", "park:outdoor"])
TRAIN = [
    f"{scene}-oslo-{scene}{place}-{segment}" for scene in ("bus", "park") for place in range(5) for segment in (1, 2)
]
EVALUATE = ["bus-riga-90-1", "park-riga-91-1"]


def split(*arguments: str) -> CompletedProcess:
    return run("split.py", "split.csv", "media.csv", "classes.csv", "split.json", *arguments)


def test_setup_files_become_one_sorted_table(tmp_path):
    table = read_setup(write_setup(tmp_path, TRAIN, EVALUATE), CLASSES)
    assert list(table.columns) == ["clip", "scene", "city", "location", "fold", "audio", "video"]
    assert list(table["clip"]) == sorted(TRAIN + EVALUATE)
    assert dict(table.loc[table["clip"] == "bus-riga-90-1"].iloc[0]) == {
        "clip": "bus-riga-90-1", "scene": "bus", "city": "riga", "location": "90", "fold": "evaluate",
        "audio": "bus-riga-90-1.wav", "video": "bus-riga-90-1.mp4",
    }  # fmt: skip


def test_a_hyphen_in_a_class_is_no_matter(tmp_path):
    folder = write_setup(tmp_path, [], [])
    (folder / "fold1_train.csv").write_text(
        "filename_audio\tfilename_video\tscene_label\n\tvideo/night-bus-oslo-1-1.mp4\tnight-bus\n"
    )
    table = read_setup(folder, parse_classes(["night-bus:transportation"]))
    assert list(table.loc[0, ["clip", "city", "location", "audio"]]) == ["night-bus-oslo-1-1", "oslo", "1", ""]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_validation_holds_whole_locations_of_every_class(tmp_path, fraction, seed):
    table = hold_out(read_setup(write_setup(tmp_path, TRAIN, EVALUATE), CLASSES), fraction, seed)
    folds = [set(place(rows)) for _, rows in table.groupby("fold")]
    assert len(folds) == 3 and not folds[0] & folds[1] and not folds[0] & folds[2] and not folds[1] & folds[2]
    held = table[table["fold"] == "validation"].groupby("scene")["location"].nunique()
    assert list(held) == [min(round(5 * fraction), 4)] * 2
    assert (table["fold"] == "evaluate").sum() == len(EVALUATE)


def test_no_validation_by_default_and_none_of_a_class_with_one_location(tmp_path):
    table = read_setup(write_setup(tmp_path, ["bus-oslo-1-1", "bus-oslo-1-2"], []), CLASSES)
    assert set(hold_out(table, 0.0, 0)["fold"]) == {"train"}
    assert set(hold_out(table, 0.5, 0)["fold"]) == {"train"}


@pytest.mark.parametrize(
    ("train", "evaluate", "message"),
    [
        (["bus-oslo-1-1"], ["bus-oslo-1-1"], "bus-oslo-1-1 (evaluate and train)"),
        (["bus-oslo-1-1", "bus-oslo-1-1"], [], "listed twice"),
        (["zoo-oslo-1-1"], [], "class 'zoo' of zoo-oslo-1-1 is not in dataset.classes"),
        (["bus1"], [], "'bus1' is not named <scene>-<city>-<location>-<segment>"),
    ],
)
def test_a_wrong_setup_file_is_named(tmp_path, train, evaluate, message):
    with pytest.raises(InputError) as error:
        read_setup(write_setup(tmp_path, train, evaluate), CLASSES)
    assert message in str(error.value) and "fold1_" in str(error.value) and "\n" not in str(error.value)


def test_wrong_columns_are_named(tmp_path):
    write_setup(tmp_path, TRAIN, EVALUATE)
    (tmp_path / "fold1_train.csv").write_text("filename_audio,scene_label\na,b\n")
    with pytest.raises(
        InputError, match="columns of a tab-separated table must be filename_audio, filename_video, scene_label"
    ):
        read_setup(tmp_path, CLASSES)
    (tmp_path / "fold1_train.csv").write_text("")
    with pytest.raises(InputError, match="not a tab-separated table"):
        read_setup(tmp_path, CLASSES)


@pytest.mark.parametrize("entry", ["airport", "airport:", ":indoor", "a:b:c"])
def test_a_class_needs_a_meta_class(entry):
    with pytest.raises(InputError, match="dataset.classes"):
        parse_classes([entry])


@pytest.fixture
def media(tmp_path):
    """A clip with both files, one with a wav alone, one with a film alone, one with a silent film, one with neither."""
    write_setup(tmp_path / "setup", ["bus-oslo-1-1", "bus-oslo-1-2", "bus-oslo-1-3"], ["bus-oslo-2-1", "bus-oslo-2-2"])
    for clip in ("bus-oslo-1-1", "bus-oslo-1-2"):
        write_wav(tmp_path / f"audio/{clip}.wav", noise(seconds=0.1))
    write_mp4(tmp_path / "video/bus-oslo-1-1.mp4", seconds=0.5)
    write_mp4(tmp_path / "video/bus-oslo-1-3.mp4", seconds=0.5)
    write_mp4(tmp_path / "video/bus-oslo-2-1.mp4", seconds=0.5, sound=False)
    return ["--audio", "audio", "--video", "video", "--setup", "setup"]


def test_missing_error_counts_the_missing_files_and_names_the_first(media):
    result = split(*media)
    assert result.returncode == 1
    assert result.stderr == (
        "error: audio/bus-oslo-1-3.wav: missing, the first of 5 missing files that setup names; "
        "restore them, or set dataset.missing to skip\n"
    ), result.stderr
    assert not os.path.exists("split.csv")


def test_missing_skip_keeps_a_clip_that_has_one_modality(media):
    result = split(*media, "--missing", "skip")
    assert result.returncode == 0 and "1 of 5 clips have neither" in result.stderr
    table = read_split("split.csv").set_index("clip")
    assert dict(table["audio"]) == {
        "bus-oslo-1-1": "audio/bus-oslo-1-1.wav",
        "bus-oslo-1-2": "audio/bus-oslo-1-2.wav",
        "bus-oslo-1-3": "video/bus-oslo-1-3.mp4",
        "bus-oslo-2-1": "",
    }
    assert table.loc["bus-oslo-1-2", "video"] == "" and table.loc["bus-oslo-2-1", "video"]
    counts = json.loads(Path("split.json").read_text())
    assert (counts["clips"], counts["with_audio"], counts["with_video"], counts["train"]["bus"]) == (4, 3, 3, 3)
    assert list(pd.read_csv("media.csv").columns) == ["clip", "audio", "video", "fold"]


def test_media_do_not_depend_on_what_is_held_out(tmp_path):
    write_setup(tmp_path / "setup", TRAIN, EVALUATE)
    options = ["--audio", "none", "--video", "none", "--setup", "setup", "--missing", "ignore"]
    tables = []
    for validation in ("0", "0.4"):
        assert split(*options, "--validation", validation).returncode == 0
        tables.append((Path("media.csv").read_bytes(), Path("split.csv").read_bytes()))
    assert tables[0][0] == tables[1][0] and tables[0][1] != tables[1][1]
    assert set(pd.read_csv("media.csv")["fold"]) == {"train", "evaluate"}


def test_folds_that_share_locations_and_classes_without_clips_are_warned_of(tmp_path):
    train = ["bus-oslo-1-1", "bus-oslo-1-2", "bus-riga-2-1", "park-riga-3-1", "tram-bern-4-1"]
    write_setup(tmp_path / "setup", train, ["bus-oslo-1-3", "park-riga-3-2", "metro-bern-5-1"])
    options = ["--audio", "none", "--video", "none", "--setup", "setup", "--missing", "ignore"]
    result = split(*options, *(word for name in ("airport", "bus", "metro", "park", "tram", "street")
                               for word in ("--classes", f"{name}:x")))  # fmt: skip
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "warning: 5 clips are of 2 locations with both train and evaluate clips (the first: oslo-1); "
        "scores will be too optimistic",
        "warning: no clips of airport, street",
        "warning: no train clips of metro",
        "warning: no evaluate clips of tram",
    ]


@given(
    clips=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), min_size=1),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 99),
)
@example(clips=[("a", 1), ("a", 2), ("b", 2), ("b", 3), ("c", 3), ("c", 1)], fraction=0.5, seed=0)
def test_holding_out_leaves_every_class_train_clips(clips, fraction, seed):
    """Also where locations are of several classes, so that one class's choice takes those of another."""
    table = pd.DataFrame(clips, columns=["scene", "location"]).astype(str).assign(city="x", fold="train")
    held = hold_out(table, fraction, seed)
    assert set(held.loc[held["fold"] == "train", "scene"]) == set(table["scene"])
    assert held.groupby("location")["fold"].nunique().max() == 1


def test_missing_ignore_does_not_look(tmp_path):
    write_setup(tmp_path / "setup", TRAIN, EVALUATE)
    result = split("--audio", "none", "--video", "none", "--setup", "setup", "--missing", "ignore")
    assert result.returncode == 0, result.stderr
    assert len(read_split("split.csv")) == len(TRAIN) + len(EVALUATE)


def test_options_may_be_written_with_underscores():
    assert "Usage" in run("spectrogram.py", "mel", "--sample_rate", "48000", "--help").stdout


def test_an_array_of_another_run_is_refused(tmp_path):
    np.save("a.npy", np.zeros((3, 2)))
    with pytest.raises(InputError, match="a.npy: 3 rows for 2 clips"):
        open_rows("a.npy", pd.DataFrame({"clip": ["a", "b"]}))
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:140])
    with pytest.raises(InputError, match="b.npy: not a whole .npy array"):
        open_rows("b.npy", pd.DataFrame({"clip": ["a", "b", "c"]}))
