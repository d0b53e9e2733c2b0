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

from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import right
from scenes.evaluation.stopping_rule import (
    CHOSEN,
    CURVE,
    NEVER,
    OF_CLASSES,
    choose,
    curve,
    decide,
    growing,
    stop,
    thresholds,
    waits,
)
from scenes.stage.errors import InputError
from scenes.systems import needs_of

seeds = st.integers(0, 10_000)
# Of the two members: a second each, and patches of which the last two are known with the clip alone.
NEEDS = np.array([np.arange(1, 11), [1.5, 2.25, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 10, 10]])


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
    steps = growing(members), waits(members, NEEDS)
    hits, seconds = decide(labels, *steps, NEVER)
    np.testing.assert_array_equal(hits, right(labels, prod(members.mean(axis=2))))
    scored = np.arange(len(labels)) != 4
    assert (seconds[scored] == 10).all() and np.isnan([hits[4], seconds[4]]).all()
    assert (decide(labels, *steps, 0.0)[1][scored] == 1.5).all()


@given(seed=seeds, threshold=st.floats(0.2, 1))
def test_it_decides_as_a_listener_would(seed, threshold):
    labels, members = made(seed, 8)
    hits, seconds = decide(labels, growing(members), waits(members, NEEDS), threshold)
    for clip in set(range(8)) - {4}:
        present = ~np.isnan(members[:, clip]).any(axis=(1, 2))
        here, times = members[present, clip], NEEDS[present].max(axis=0)
        for time in np.unique(times):
            heard = (times <= time).sum()
            product = here[:, :heard].mean(axis=1).prod(axis=0)
            if (product / product.sum()).max() >= threshold:
                break
        assert (seconds[clip], hits[clip]) == (time, product.argmax() == labels[clip])


@settings(max_examples=30)
@given(seed=seeds)
def test_a_higher_threshold_never_takes_less_time(seed):
    labels, members = made(seed)
    steps = growing(members), waits(members, NEEDS)
    table = curve(labels, *steps, thresholds(steps[0]))
    assert table["threshold"].is_monotonic_increasing and table["threshold"].iloc[-1] == NEVER
    assert table["seconds"].is_monotonic_increasing and table["seconds"].iloc[-1] == 10
    assert table["seconds"].iloc[0] == 1.5
    assert table["accuracy"].iloc[-1] == np.nanmean(decide(labels, *steps, NEVER)[0])


@settings(max_examples=30)
@given(seed=seeds, loss=st.floats(0, 0.3))
def test_the_chosen_threshold_keeps_to_the_loss_and_is_the_fastest_that_does(seed, loss):
    labels, members = made(seed)
    steps = growing(members), waits(members, NEEDS)
    table = curve(labels, *steps, thresholds(steps[0]))
    row, full = choose(table, loss), table["accuracy"].iloc[-1]
    hits, seconds = decide(labels, *steps, row["threshold"])
    assert np.nanmean(hits) == row["accuracy"] >= full - loss - 1e-9 and np.nanmean(seconds) == row["seconds"]
    faster = table[table["seconds"] < row["seconds"]]
    assert (faster["accuracy"] < full - loss).all()
    assert choose(table, 0)["seconds"] >= row["seconds"]


ENSEMBLES = ["one=audio_embedding/sure", "both=audio_embedding/sure,slow", "other=audio_embedding/absent"]


def early_exit(*losses: float) -> None:
    tables = map(Path, ("split.csv", "classes.csv", "e.csv", "h.csv", "k.csv", "e.json"))
    main(*tables, "{classifier}.npy", ENSEMBLES, "{kind}.needs.csv", losses=losses)


def write_members(labels: np.ndarray) -> None:
    for seed, (name, share) in enumerate({"sure": 0.8, "slow": 0.6}.items()):
        classes = made_up.predicted(labels, round(share * len(labels)), seed)
        made_up.write(f"audio_embedding/{name}.npy", made_up.probabilities(classes, seed, (10,)))
    made_up.write("audio_embedding/absent.npy", np.full((len(labels), 10, 10), np.nan, np.float32))


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
    members = np.stack([np.load(f"audio_embedding/{name}.npy").astype(np.float64) for name in ("sure", "slow")])
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
        seconds = np.load(f"audio_embedding/{name}.npy")
        seconds[evaluate] = seconds[evaluate][::-1, ::-1]
        np.save(f"audio_embedding/{name}.npy", seconds)
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


def test_seconds_are_those_of_the_recording():
    """An ensemble waits for its slowest member, and for none that lacks the clip's modality."""
    labels, members = made(0)
    members[1, 7] = np.nan
    known = waits(members, NEEDS)
    np.testing.assert_array_equal(known[:, 0], NEEDS.max(axis=0))
    np.testing.assert_array_equal(known[:, 3], NEEDS[1])
    np.testing.assert_array_equal(known[:, 7], NEEDS[0])
    patches = {"mel": np.arange(10) + 1.888, "cqt": np.arange(10) + 3.58}
    slow = lambda name, unit="second": list(needs_of(name, unit, patches.get)[[0, 9]])  # noqa: E731
    assert slow("audio_spectrogram/cqt") == [3.58, 10] and slow("audio_visual/VGG19") == [1.888, 10]
    assert slow("audio_embedding/Cnn14") == slow("visual_image/VGG19", "clip") == [1, 10]
    assert slow("audio_visual_foundation/PE_AV") == [1, 10]
    assert (
        slow("audio_embedding/Cnn14", "clip")
        == slow("audio_visual_foundation/PE_AV", "clip")
        == slow("audio_module/Mine", "timestamps")
        == slow("external/other")
        == [10, 10]
    )


def test_of_steps_known_at_the_same_time_the_last_decides():
    fused = np.full((10, 1, 2), 0.5)
    fused[8] = 0.9, 0.1
    assert [stop(fused, needs[:, None], 0.8) for needs in NEEDS] == [8, 9]


def run_members(*, unit: str) -> pd.DataFrame:
    """Early exit of a mel and an embedding, both sure from the first second on; no accuracy may be lost."""
    labels = made_up.write_split(400, 40, validation=20)
    for seed, name in enumerate(("audio_spectrogram/mel", "audio_embedding/Cnn14")):
        made_up.write(f"{name}.npy", made_up.probabilities(labels, seed, (10,)))
    made_up.write_needs(mel=1.888)
    ensembles = ["heard=audio_spectrogram/mel", "both=audio_spectrogram/mel,audio_embedding/Cnn14"]
    tables = map(Path, ("split.csv", "classes.csv", "e.csv", "h.csv", "k.csv", "e.json"))
    main(*tables, "{classifier}.npy", ensembles, made_up.REPORT_OPTIONS["needs"],
         [f"audio_embedding/Cnn14={unit}"], [0.0])  # fmt: skip
    return pd.read_csv("h.csv").set_index("ensemble")


def test_a_patch_is_known_after_as_many_seconds_as_it_hears():
    exits = run_members(unit="second")
    assert exits["seconds"].to_dict() == pytest.approx({"heard": 1.888, "both": 1.888})
    assert json.loads(Path("e.json").read_text())["heard_seconds"] == pytest.approx(1.888)


@pytest.mark.parametrize("unit", ["clip", "timestamps"])
def test_an_embedding_of_the_whole_clip_decides_with_the_clip_alone(unit):
    exits = run_members(unit=unit)
    assert exits["seconds"].to_dict() == pytest.approx({"heard": 1.888, "both": 10})
    assert exits.loc["both", "threshold"] == NEVER


def test_a_unit_that_is_none_is_refused():
    with pytest.raises(InputError, match="--unit audio_embedding/Cnn14=hour: must be family/member,...= and one of"):
        run_members(unit="hour")
