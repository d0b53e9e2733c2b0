"""Knowing when to stop: against a plain loop, the laws of its thresholds, and its stage."""

import json
from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
from early_exit import main
from hypothesis import given, settings
from hypothesis import strategies as st

from scenes.evaluation.early_exit import CHOSEN, CURVE, NEVER, OF_CLASSES, choose, curve, decide, growing, thresholds
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import right

seeds = st.integers(0, 10_000)


def made(seed: int, clips: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers and two members, of which one lacks a clip and both lack another."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, clips)
    members = generator.dirichlet(np.ones(4), (2, clips, 10)) + 0.3 * np.eye(4)[labels][:, None]
    members /= members.sum(axis=-1, keepdims=True)
    members[0, 3], members[:, 4] = np.nan, np.nan
    return labels, members


@given(seed=seeds)
def test_a_threshold_that_is_never_passed_gives_the_full_clip(seed):
    labels, members = made(seed)
    hits, seconds = decide(labels, growing(members), NEVER)
    np.testing.assert_array_equal(hits, right(labels, prod(members.mean(axis=2))))
    scored = np.arange(len(labels)) != 4
    assert (seconds[scored] == 10).all() and np.isnan([hits[4], seconds[4]]).all()
    assert (decide(labels, growing(members), 0.0)[1][scored] == 1).all()


@given(seed=seeds, threshold=st.floats(0.2, 1))
def test_it_decides_as_a_listener_would(seed, threshold):
    labels, members = made(seed, 8)
    hits, seconds = decide(labels, growing(members), threshold)
    for clip in set(range(8)) - {4}:
        here = members[~np.isnan(members[:, clip]).any(axis=(1, 2)), clip]
        for heard in range(1, 11):
            product = here[:, :heard].mean(axis=1).prod(axis=0)
            if (product / product.sum()).max() >= threshold:
                break
        assert (seconds[clip], hits[clip]) == (heard, product.argmax() == labels[clip])


@settings(max_examples=30)
@given(seed=seeds)
def test_a_higher_threshold_never_takes_less_time(seed):
    labels, members = made(seed)
    fused = growing(members)
    table = curve(labels, fused, thresholds(fused))
    assert table["threshold"].is_monotonic_increasing and table["threshold"].iloc[-1] == NEVER
    assert table["seconds"].is_monotonic_increasing and table["seconds"].iloc[-1] == 10
    assert table["seconds"].iloc[0] == 1 and table["accuracy"].iloc[-1] == np.nanmean(decide(labels, fused, NEVER)[0])


@settings(max_examples=30)
@given(seed=seeds, loss=st.floats(0, 0.3))
def test_the_chosen_threshold_keeps_to_the_loss_and_is_the_fastest_that_does(seed, loss):
    labels, members = made(seed)
    fused = growing(members)
    table = curve(labels, fused, thresholds(fused))
    row, full = choose(table, loss), table["accuracy"].iloc[-1]
    hits, seconds = decide(labels, fused, row["threshold"])
    assert np.nanmean(hits) == row["accuracy"] >= full - loss - 1e-9 and np.nanmean(seconds) == row["seconds"]
    faster = table[table["seconds"] < row["seconds"]]
    assert (faster["accuracy"] < full - loss).all()
    assert choose(table, 0)["seconds"] >= row["seconds"]


ENSEMBLES = ["one=made/sure", "both=made/sure,slow", "other=made/absent"]


def early_exit(*losses: float) -> None:
    tables = map(Path, ("split.csv", "classes.csv", "e.csv", "h.csv", "k.csv", "e.json"))
    main(*tables, "{classifier}.npy", ENSEMBLES, losses)


def write_members(labels: np.ndarray) -> None:
    for seed, (name, share) in enumerate({"sure": 0.8, "slow": 0.6}.items()):
        classes = made_up.predicted(labels, round(share * len(labels)), seed)
        made_up.write(f"made/{name}.npy", made_up.probabilities(classes, seed, (10,)))
    made_up.write("made/absent.npy", np.full((len(labels), 10, 10), np.nan, np.float32))


def test_the_stage_chooses_on_validation_and_scores_evaluate_clips(capsys):
    labels = made_up.write_split(400, 40, validation=20)
    write_members(labels)
    early_exit(0, 5)
    assert capsys.readouterr().err == "not run: other: no validation fold, or no prediction of its clips\n"
    points, exits, of_classes = (pd.read_csv(name) for name in ("e.csv", "h.csv", "k.csv"))
    assert [list(table) for table in (points, exits, of_classes)] == [CURVE, CHOSEN, OF_CLASSES]
    assert [tuple(pair) for pair in exits[["ensemble", "loss"]].to_numpy()] == [
        ("one", 0), ("one", 5), ("both", 0), ("both", 5),
    ]  # fmt: skip
    members = np.stack([np.load(f"made/{name}.npy").astype(np.float64) for name in ("sure", "slow")])
    evaluate = np.arange(400) % 40 >= 20
    full = right(labels, prod(members.mean(axis=2)))
    last = points[points["ensemble"] == "both"].iloc[-1]
    assert (last["threshold"], last["seconds"]) == (NEVER, 10)
    assert (last["validation_accuracy"], last["accuracy"]) == (full[~evaluate].mean(), full[evaluate].mean())
    for row in exits.itertuples():
        ends = points[points["ensemble"] == row.ensemble].iloc[-1]
        assert row.validation_accuracy >= ends["validation_accuracy"] - row.loss / 100 - 1e-9
        assert row.difference == pytest.approx(row.accuracy - row.full_accuracy)
        assert row.only_early - row.only_full == round(row.difference * evaluate.sum())
        seconds = of_classes[(of_classes["ensemble"] == row.ensemble) & (of_classes["loss"] == row.loss)]["seconds"]
        assert len(seconds) == 10 and seconds.mean() == pytest.approx(row.seconds)  # balanced classes
    assert json.loads(Path("e.json").read_text())["both_seconds"] == exits["seconds"][2]


def test_no_threshold_is_chosen_by_evaluate_clips():
    write_members(made_up.write_split(400, 40, validation=20))
    early_exit(0, 5)
    before = pd.read_csv("e.csv"), pd.read_csv("h.csv")
    evaluate = np.arange(400) % 40 >= 20
    for name in ("sure", "slow"):
        seconds = np.load(f"made/{name}.npy")
        seconds[evaluate] = seconds[evaluate][::-1, ::-1]
        np.save(f"made/{name}.npy", seconds)
    early_exit(0, 5)
    for table, other in zip(before, (pd.read_csv("e.csv"), pd.read_csv("h.csv")), strict=True):
        fitted = ["ensemble", "threshold", "validation_accuracy", "validation_seconds"]
        pd.testing.assert_frame_equal(table[fitted], other[fitted])
        assert (table["accuracy"] != other["accuracy"]).any()


def test_without_a_validation_fold_no_threshold_is_chosen(capsys):
    write_members(made_up.write_split(40, 10))
    early_exit(0)
    said = capsys.readouterr().err
    assert said.count("not run: ") == len(said.splitlines()) == 3
    for name, columns in (("e.csv", CURVE), ("h.csv", CHOSEN), ("k.csv", OF_CLASSES)):
        assert Path(name).read_text() == ",".join(columns) + "\n"
    assert json.loads(Path("e.json").read_text()) == {}
