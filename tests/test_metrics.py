"""Metrics against scikit-learn and hand computation; the bootstrap where its answer is known; McNemar as published."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, log_loss, recall_score

from scenes.evaluation.metrics import brier, by_class, calibration_error, confusion, log_losses, reliability, right
from scenes.evaluation.uncertainty import location_interval, mcnemar

LABELS = np.array([0, 0, 1, 1, 2])
ROWS = np.array([[6, 3, 1], [2, 5, 3], [1, 8, 1], [0, 2, 0], [4, 4, 2]]) / 10  # the fourth sums to 0.2
NAN = np.full(3, np.nan)


def test_figures_of_clips_by_hand():
    rows, labels = np.vstack([ROWS, NAN]), np.append(LABELS, 2)
    np.testing.assert_array_equal(right(labels, rows), [1, 0, 1, 1, 0, np.nan])
    np.testing.assert_allclose(log_losses(labels, rows), [*-np.log([0.6, 0.2, 0.8, 1.0, 0.2]), np.nan])
    np.testing.assert_array_equal(confusion(labels, rows), [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    table = by_class(labels, rows)
    assert list(table["units"]) == [2, 2, 1]
    np.testing.assert_allclose(table["accuracy"], [0.5, 1, 0])
    np.testing.assert_allclose(table["log_loss"], [-np.log(0.6 * 0.2) / 2, -np.log(0.8) / 2, -np.log(0.2)])
    # Confidences 0.6, 0.5, 0.8, 1, 0.4; two bins: (0, 0.5] holds 0.5 and 0.4, both wrong.
    table = reliability(labels, rows, bins=2)
    assert list(table["units"]) == [2, 3]
    np.testing.assert_allclose(table[["confidence", "accuracy"]], [[0.45, 0], [0.8, 1]])
    assert calibration_error(labels, rows, bins=2) == pytest.approx((2 * 0.45 + 3 * 0.2) / 5)
    squares = [0.4**2 + 0.3**2 + 0.1**2, 0.8**2 + 0.5**2 + 0.3**2, 0.1**2 + 0.2**2 + 0.1**2, 0, 0.4**2 * 2 + 0.8**2]
    assert brier(labels, rows) == pytest.approx(np.mean(squares))


@given(seed=st.integers(0, 10_000))
def test_figures_are_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(60) % 4)
    rows = generator.dirichlet(np.full(4, 0.5), 60)
    table = by_class(labels, rows)
    np.testing.assert_allclose(table["accuracy"], recall_score(labels, rows.argmax(axis=1), average=None))
    for number in range(4):
        here = labels == number
        assert table["log_loss"][number] == pytest.approx(log_loss(labels[here], rows[here], labels=range(4)))
    assert brier(labels, rows.astype(np.float32)) == pytest.approx(
        brier_score_loss(labels, rows, labels=range(4)), abs=1e-6
    )


def test_a_perfect_classifier_is_calibrated_and_no_clip_gives_no_figure():
    certain = np.eye(3)[LABELS]
    assert calibration_error(LABELS, certain) == brier(LABELS, certain) == 0
    nothing = np.tile(NAN, (5, 1))
    assert np.isnan(calibration_error(LABELS, nothing)) and np.isnan(brier(LABELS, nothing))
    assert list(by_class(LABELS, nothing)["units"]) == [0, 0, 0]


PLACES = np.repeat([f"place-{number}" for number in range(20)], 30)


def test_errors_at_one_location_widen_the_interval_and_spread_ones_narrow_it():
    at_one = np.where(PLACES == "place-7", 0.0, 1.0)
    spread = np.tile([0.0, *np.ones(19)], 30)  # one or two of the thirty clips of each place
    assert at_one.mean() == spread.mean() == 0.95
    low, high = location_interval(at_one, PLACES)
    # Of 20 draws of a place at 1/20 each, 97.5 % hold place 7 at most three times: 1 - 3 / 20.
    assert (low, high) == (pytest.approx(0.85), 1.0)
    narrow = location_interval(spread, PLACES)
    assert low < narrow[0] < 0.95 < narrow[1] < high and narrow[1] - narrow[0] < 0.02


def test_independent_clips_have_the_normal_interval():
    generator = np.random.default_rng(1)
    values = generator.permutation(np.repeat([1.0, 0.0], [300, 100]))
    interval = location_interval(values, np.arange(400).astype(str))
    expected = 0.75 + norm.ppf([0.025, 0.975]) * np.sqrt(0.75 * 0.25 / 400)
    np.testing.assert_allclose(interval, expected, atol=0.004)


def test_the_bootstrap_is_that_of_a_plain_loop():
    generator = np.random.default_rng(2)
    places = np.array(list("aaabbcdd"))
    labels, losses = np.array([0, 0, 0, 1, 1, 1, 2, 2]), generator.exponential(size=8)
    clips = pd.DataFrame({"label": labels, "loss": losses})
    times = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=50)
    means = []
    for drawn in times:
        table = pd.concat([clips[places == place] for place, count in zip("abcd", drawn, strict=True) for _ in
                           range(count)])  # fmt: skip
        means.append(table.groupby("label")["loss"].mean().mean())
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(location_interval(losses, places, labels, draws=50, seed=3), expected)


def test_the_bootstrap_leaves_out_clips_without_prediction_and_needs_two_locations():
    values = np.where(PLACES == "place-0", np.nan, np.tile([0.0, *np.ones(9)], 60))
    scored = ~np.isnan(values)
    assert location_interval(values, PLACES) == location_interval(values[scored], PLACES[scored])
    assert location_interval(values, PLACES) == location_interval(values, PLACES)
    assert np.isnan(location_interval(values, np.full(600, "one"))).all()
    assert np.isnan(location_interval(np.full(2, np.nan), np.array(["a", "b"]))).all()


def test_a_paired_interval_is_narrower_than_two_single_ones():
    first = np.tile(np.repeat([1.0, 0.0], 15), 20)
    first[PLACES < "place-14"] = 0
    second = first.copy()
    second[::40] = 1
    low, high = location_interval(second - first, PLACES)
    single = location_interval(first, PLACES)
    assert 0 < low < high and high - low < (single[1] - single[0]) / 5


@pytest.mark.parametrize(("table", "p_value"), [((1, 1, 7, 12), 0.0703), ((59, 6, 16, 80), 0.0525)])
def test_mcnemar_as_published(table, p_value):
    """Fagerland, Lydersen and Laake 2013 (BMC Medical Research Methodology 13:91), exact conditional test."""
    both, only_first, only_second, neither = table
    first = np.repeat([1.0, 1, 0, 0, np.nan], [both, only_first, only_second, neither, 3])
    second = np.repeat([1.0, 0, 1, 0, 1], [both, only_first, only_second, neither, 3])
    result = mcnemar(first, second)
    assert result[:2] == (only_first, only_second) and round(result[2], 4) == p_value


def test_mcnemar_of_equal_classifiers():
    assert mcnemar(np.ones(4), np.ones(4)) == (0, 0, 1.0)
