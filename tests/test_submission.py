"""From a list of unlabelled files to a submission; from DVC's experiments to the table of seeds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import submission
from made_up import CLASSES, probabilities

from scenes.dataset.tables import read_classes, read_split
from scenes.evaluation.scoring import evaluate
from scenes.stage.errors import InputError


@pytest.fixture
def unlabelled():
    """A list of three one-second files, in folders of their own, and the classes."""
    names = ["7", "3", "12"]
    for folder, suffix in (("sound", "wav"), ("films", "mp4")):
        Path(folder).mkdir()
        for name in names:
            (Path(folder) / f"{name}.{suffix}").touch()
    rows = [f"audio/{name}.wav\tvideo/{name}.mp4" for name in names]
    Path("evaluation.csv").write_text("\n".join(["filename_audio\tfilename_video", *rows]) + "\n")
    pd.DataFrame(CLASSES.items(), columns=["class", "meta_class"]).to_csv("classes.csv", index=False)
    submission.clips(Path("evaluation.csv"), Path("sound"), Path("films"), Path("split.csv"))


def test_a_submission_has_dcases_columns(unlabelled):
    fused = probabilities(np.array([4, 0, 9]), seed=0)
    np.save("fused.npy", fused)
    submission.write(Path("split.csv"), Path("classes.csv"), Path("fused.npy"), Path("submission.csv"))
    table = pd.read_csv("submission.csv", sep="\t")
    assert list(table.columns) == ["filename", "scene_label", *CLASSES]
    assert list(table["filename"]) == ["7.wav", "3.wav", "12.wav"]
    assert list(table["scene_label"]) == ["park", "airport", "tram"]
    np.testing.assert_allclose(table[list(CLASSES)], fused, atol=1e-6)


def test_unlabelled_clips_are_predicted_but_not_scored(unlabelled):
    split, classes = read_split(Path("split.csv")), read_classes(Path("classes.csv"))
    evaluate(split, classes, probabilities(np.arange(3), 0, (10,)), Path("confusion.csv"), Path("metrics.json"))
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics.pop("clips") == 0 and set(metrics.values()) == {None}
    assert Path("confusion.csv").read_text() == "actual,predicted\n"


def test_a_missing_file_or_prediction_is_named(unlabelled):
    fused = probabilities(np.arange(3), seed=0)
    fused[1] = np.nan
    np.save("fused.npy", fused)
    with pytest.raises(InputError, match="fused.npy: 1 clips without prediction, 3 first"):
        submission.write(Path("split.csv"), Path("classes.csv"), Path("fused.npy"), Path("submission.csv"))
    Path("films/3.mp4").unlink()
    with pytest.raises(InputError, match="films/3.mp4: missing; evaluation.csv names it"):
        submission.clips(Path("evaluation.csv"), Path("sound"), Path("films"), Path("split.csv"))
    with pytest.raises(InputError, match="classes.csv: a tab-separated table without the column filename_audio"):
        submission.clips(Path("classes.csv"), Path("sound"), Path("films"), Path("split.csv"))
