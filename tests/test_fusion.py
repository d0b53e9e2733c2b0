"""Laws of fusion, scores against scikit-learn and hand computation, and the fuse and early-detect scripts."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
from conftest import run
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, recall_score

from scenes.evaluation.fusion import LEARNED, RULES, mean, prod
from scenes.evaluation.metrics import macro_log_loss, scores

seeds = st.integers(0, 10_000)


def probabilities(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(shape[-1], 0.3), shape[:-1])


@pytest.mark.parametrize("rule", RULES)
@given(seed=seeds)
def test_fusion_laws(rule, seed):
    members = probabilities(seed, 4, 6, 5)
    fuse = RULES[rule]
    fused = fuse(members)
    assert fused.shape == (6, 5)
    np.testing.assert_allclose(fused.sum(axis=-1), 1)
    np.testing.assert_allclose(fuse(members[:1]), members[0], atol=1e-12)
    np.testing.assert_allclose(fuse(members[::-1]), fused, atol=1e-12)
    absent = members.copy()
    absent[1, 2], absent[:, 3] = np.nan, np.nan
    np.testing.assert_allclose(fuse(absent)[2], fuse(members[[0, 2, 3]])[2], atol=1e-12)
    assert np.isnan(fuse(absent)[3]).all() and not np.isnan(fuse(absent)[[0, 1, 2, 4, 5]]).any()


@given(seed=seeds)
def test_prod_keeps_the_argmax_of_the_plain_product(seed):
    members = probabilities(seed, 3, 6, 5)
    np.testing.assert_array_equal(prod(members).argmax(-1), members.prod(axis=0).argmax(-1))


@given(seed=seeds)
def test_prod_follows_a_certain_member(seed):
    members = probabilities(seed, 3, 6, 5) * 0.98 + 0.004
    members[1] = np.eye(5)[[0, 1, 2, 3, 4, 0]]
    np.testing.assert_allclose(prod(members), members[1], atol=1e-12)


def test_prod_of_many_members_does_not_underflow():
    members = np.tile(np.array([1e-30, 2e-30, 1 - 3e-30], np.float32), (30, 1, 1))
    np.testing.assert_allclose(prod(members), [[0, 0, 1]], atol=1e-12)
    certain = np.stack([np.eye(3)[[0]], np.eye(3)[[1]]])
    np.testing.assert_allclose(prod(certain), [[0.5, 0.5, 0]], atol=1e-12)


def test_macro_log_loss_against_the_definition():
    labels = np.array([0, 0, 0, 1, 2])
    rows = np.array([[2.0, 1, 1], [1, 2, 1], [4, 0, 0], [1, 1, 0], [5, 5, 0]])  # not normalised, one true class at 0
    classes = [-(np.log(0.5) + np.log(0.25) + np.log(1)) / 3, -np.log(0.5), -np.log(1e-15)]
    assert macro_log_loss(labels, rows) == pytest.approx(np.mean(classes), rel=1e-12)


@given(seed=seeds)
def test_scores_are_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    seconds = probabilities(seed, 40, 10, 5).astype(np.float32)
    labels = generator.permutation(np.tile(np.arange(5), 8))
    score = scores(labels, seconds, np.array(["a", "a", "b", "b", "b"]))
    clips = seconds.mean(axis=1, dtype=np.float64)
    clips /= clips.sum(axis=1, keepdims=True)
    predicted = clips.argmax(axis=1)
    assert score["accuracy"] == accuracy_score(labels, predicted)
    assert score["macro_accuracy"] == pytest.approx(recall_score(labels, predicted, average="macro"))
    assert score["log_loss"] == pytest.approx(log_loss(labels, clips), rel=1e-9)  # balanced: macro is micro
    assert score["meta_accuracy"] == np.mean((labels < 2) == (predicted < 2))
    flat = seconds.reshape(-1, 5)
    assert score["second_accuracy"] == accuracy_score(np.repeat(labels, 10), flat.argmax(axis=1))
    assert score["clips"] == 40


def test_clips_without_prediction_are_not_scored():
    seconds = probabilities(0, 4, 10, 3)
    seconds[1] = np.nan
    assert scores(np.array([0, 1, 2, 0]), seconds, np.array(["a", "b", "c"]))["clips"] == 3
    nothing = scores(np.array([0]), seconds[1:2], np.array(["a", "b", "c"]))
    assert nothing["clips"] == 0 and np.isnan(nothing["accuracy"])


@pytest.fixture
def ensemble():
    """Twelve clips, four of each fold, two members of which one did not see the last clip."""
    folds, scenes = ["train", "validation", "evaluate"] * 4, ["bus", "park", "bus", "tram"] * 3
    split = pd.DataFrame({"clip": [f"{i:02}" for i in range(12)], "scene": scenes, "city": "", "location": ""})
    split.assign(fold=folds, audio="a", video="v").to_csv("split.csv", index=False)
    meta = pd.DataFrame({"class": ["tram", "bus", "park"], "meta_class": ["transport", "transport", "outdoor"]})
    meta.to_csv("classes.csv", index=False)
    members = probabilities(0, 2, 8, 10, 3).astype(np.float32)
    members[1, -1] = np.nan
    for name, member in zip(("mel", "Xception"), members, strict=True):
        np.save(f"{name}.npy", member)
    return members


def fuse(*members: str) -> CompletedProcess:
    return run("fuse.py", "split.csv", "classes.csv", "f-{rule}.npy", "c-{rule}.csv", "m-{rule}.json", *members,
               "--weights", "w.csv")  # fmt: skip


def test_fuse_writes_every_rule(ensemble):
    result = fuse("mel.npy", "Xception.npy")
    assert result.returncode == 0, result.stderr
    clips = ensemble.mean(axis=2, dtype=np.float64)
    fused = np.load("f-mean.npy")
    assert fused.shape == (8, 3) and fused.dtype == np.float32
    np.testing.assert_allclose(fused, mean(clips), atol=1e-7)
    np.testing.assert_allclose(fused[-1], clips[0, -1], atol=1e-7)
    for rule in (*RULES, *LEARNED):
        metrics = json.loads(Path(f"m-{rule}.json").read_text())
        assert set(metrics) == {
            "accuracy", "accuracy_low", "accuracy_high", "macro_accuracy", "log_loss", "meta_accuracy", "clips",
        }  # fmt: skip
        confusion = pd.read_csv(f"c-{rule}.csv")
        assert len(confusion) == metrics["clips"] == 4
        assert metrics["accuracy"] == (confusion["actual"] == confusion["predicted"]).mean()


def test_early_detection_ends_at_the_clip_level_figure(ensemble):
    fuse("mel.npy", "Xception.npy")
    result = run("early_detect.py", "split.csv", "classes.csv", "e.csv", "e.json",
                 "mel=mel.npy", "Xception=Xception.npy", "both=mel,Xception")  # fmt: skip
    assert result.returncode == 0, result.stderr
    curves = pd.read_csv("e.csv")
    assert list(curves.columns) == ["framework", "seconds", "accuracy", "log_loss"] and len(curves) == 30
    last = curves[curves["seconds"] == 10].set_index("framework")
    fused = json.loads(Path("m-prod.json").read_text())
    assert last.loc["both", "accuracy"] == fused["accuracy"]
    assert last.loc["both", "log_loss"] == pytest.approx(fused["log_loss"], rel=1e-12)
    tram, bus, park = range(3)
    correct = ensemble[0, 1::2, 0].argmax(axis=-1) == [bus, park, bus, tram]
    assert json.loads(Path("e.json").read_text())["mel_1s"] == correct.mean()


def test_early_detection_leaves_out_clips_of_unknown_classes(ensemble):
    """As every other scorer does: their label is no class's, and would count as an error."""
    arguments = ["split.csv", "classes.csv", "e.csv", "e.json", "mel=mel.npy"]
    split = pd.read_csv("split.csv")
    evaluate = np.flatnonzero(split["fold"] == "evaluate")
    split.loc[evaluate[0], "scene"] = "unknown"
    split.to_csv("split.csv", index=False)
    fuse("mel.npy")
    assert run("early_detect.py", *arguments).returncode == 0
    last = pd.read_csv("e.csv").iloc[-1]
    scored = json.loads(Path("m-prod.json").read_text())
    assert scored["clips"] == 3 and last["accuracy"] == scored["accuracy"]
    assert last["log_loss"] == pytest.approx(scored["log_loss"])
    split.loc[evaluate, "scene"] = "unknown"
    split.to_csv("split.csv", index=False)
    assert run("early_detect.py", *arguments).returncode == 0
    assert pd.read_csv("e.csv")["accuracy"].isna().all()


@pytest.mark.parametrize(
    ("argument", "message"), [("f.npy", "f.npy: no such file"), ("short.npy", "short.npy: shape (2, 10, 3), expected")]
)
def test_a_wrong_member_is_named(ensemble, argument, message):
    np.save("short.npy", ensemble[0, :2])
    result = fuse("mel.npy", argument)
    assert result.returncode == 1 and message in result.stderr.lower() and len(result.stderr.splitlines()) == 1
    assert not list(Path().glob("f-*"))
