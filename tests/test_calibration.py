"""Temperature scaling: its laws, that it finds the temperature put in, and its stage."""

import json
from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
from calibrate import main
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from scenes.evaluation.calibration import COLUMNS, LIMITS, fit_temperature, temper
from scenes.evaluation.metrics import calibration_error, log_losses

seeds, temperatures = st.integers(0, 10_000), st.floats(*LIMITS)


@given(seed=seeds, concentration=st.floats(0.01, 10), temperature=temperatures)
def test_a_temperature_never_changes_the_class_of_a_second(seed, concentration, temperature):
    seconds = np.random.default_rng(seed).dirichlet(np.full(10, concentration), 50).astype(np.float32)
    tempered = temper(seconds, temperature)
    np.testing.assert_array_equal(tempered.argmax(axis=1), seconds.argmax(axis=1))
    np.testing.assert_allclose(tempered.sum(axis=1), 1)


def test_a_temperature_may_change_the_class_of_a_clip():
    clip = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.3, 0.7, 0.0]])
    assert clip.mean(axis=0).argmax() == 0 and temper(clip, 0.5).mean(axis=0).argmax() == 1


@given(seed=seeds, temperature=temperatures)
def test_tempering_divides_the_logits(seed, temperature):
    logits = np.random.default_rng(seed).uniform(-5, 5, (8, 4))
    np.testing.assert_allclose(temper(softmax(logits, axis=1), temperature), softmax(logits / temperature, axis=1))
    np.testing.assert_allclose(temper(softmax(logits, axis=1), 1), softmax(logits, axis=1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_put_in_is_found(temperature):
    generator = np.random.default_rng(0)
    logits = 2 * generator.standard_normal((20_000, 5))
    labels = np.array([generator.choice(5, p=row) for row in softmax(logits, axis=1)])
    said = softmax(logits * temperature, axis=1)
    found = fit_temperature(labels, said)
    assert found == pytest.approx(temperature, rel=0.03)
    assert calibration_error(labels, temper(said, found)) < 0.015


@given(seed=seeds)
def test_the_fitted_log_loss_is_no_higher(seed):
    generator = np.random.default_rng(seed)
    rows, labels = generator.dirichlet(np.ones(4), 30), generator.integers(0, 4, 30)
    after = log_losses(labels, temper(rows, fit_temperature(labels, rows))).mean()
    assert after <= log_losses(labels, rows).mean() + 1e-6


def test_certain_and_absent_predictions():
    rows = np.array([[1.0, 0, 0], [np.nan] * 3])
    np.testing.assert_allclose(temper(rows, 1)[0], [1, 0, 0], atol=1e-14)
    assert np.isnan(temper(rows, 2)[1]).all()
    # Without an error, it would be ever more sure.
    assert fit_temperature(np.arange(3), np.eye(3) * 0.7 + 0.1) == pytest.approx(LIMITS[0], rel=0.1)


def calibrate(*predictions: str) -> None:
    main(*map(Path, ("split.csv", "classes.csv", "t.csv", "t.json")), [Path(path) for path in predictions])


def test_the_stage_scores_evaluate_clips_before_and_after(capsys):
    labels = made_up.write_split(400, 40, validation=20)
    classes = made_up.predicted(labels, 300, 0)
    timid = temper(made_up.probabilities(classes, 0, (10,)), 4.0).astype(np.float32)
    timid[7] = np.nan
    made_up.write("made/timid.npy", timid)
    made_up.write("made/absent.npy", np.full((400, 10, 10), np.nan, np.float32))
    calibrate("made/timid.npy", "made/absent.npy")
    assert capsys.readouterr().err == "not run: made/absent.npy: no validation fold, or no prediction of its clips\n"
    table = pd.read_csv("t.csv")
    assert list(table) == COLUMNS and list(table["protocol"]) == ["clip", "second"]
    evaluate = (np.arange(400) % 40 >= 20) & (np.arange(400) != 7)
    for row, unit in zip(table.itertuples(), (lambda array: array.mean(axis=1), np.concatenate), strict=True):
        assert row.framework == "made/timid" and row.temperature < 1
        true = labels[evaluate] if row.protocol == "clip" else np.repeat(labels[evaluate], 10)
        before = unit(timid[evaluate].astype(np.float64))
        after = unit(temper(timid[evaluate], row.temperature))
        assert row.calibration_error_before == pytest.approx(calibration_error(true, before))
        # Balanced classes: the macro log loss is the mean.
        assert row.log_loss_after == pytest.approx(log_losses(true, after).mean())
        assert row.difference == pytest.approx(row.log_loss_after - row.log_loss_before)
        assert row.low < row.difference < row.high < 0
    assert json.loads(Path("t.json").read_text())["second_log_loss_after"] == pytest.approx(table["log_loss_after"][1])


def test_no_temperature_is_fitted_to_evaluate_clips():
    labels = made_up.write_split(400, 40, validation=20)
    made_up.write("made/mel.npy", made_up.probabilities(made_up.predicted(labels, 300, 0), 0, (10,)))
    calibrate("made/mel.npy")
    before = pd.read_csv("t.csv")
    seconds, evaluate = np.load("made/mel.npy"), np.arange(400) % 40 >= 20
    seconds[evaluate] = seconds[evaluate][::-1]
    np.save("made/mel.npy", seconds)
    calibrate("made/mel.npy")
    after = pd.read_csv("t.csv")
    assert (after["temperature"] == before["temperature"]).all() and (after["log_loss_after"] > 1).all()


def test_without_a_validation_fold_nothing_is_calibrated(capsys):
    labels = made_up.write_split(40, 10)
    made_up.write("made/mel.npy", made_up.probabilities(labels, 0, (10,)))
    calibrate("made/mel.npy")
    assert capsys.readouterr().err.startswith("not run: made/mel.npy: no validation fold")
    assert Path("t.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert set(json.loads(Path("t.json").read_text()).values()) == {None}
