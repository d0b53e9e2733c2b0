"""Fusion that learns: laws of its two rules, what they find in made-up ensembles, and the stage that fits them."""

from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
from fuse import main
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from scenes.evaluation.fusion import LEARNED, log_linear, logarithms, prod
from scenes.evaluation.learned_fusion import fit_log_linear, fit_stacked, penalised_loss, shares, stacked

CLASSES = 5
PLACES = (np.arange(2000) % 40).astype(str)
seeds = st.integers(0, 10_000)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(CLASSES), shape)


def informed(labels: np.ndarray, seed: int, certainty: float = 1.5) -> np.ndarray:
    """A member whose log probabilities are higher by `certainty` for the true class, `[clips, classes]`."""
    logits = np.random.default_rng(seed).standard_normal((len(labels), CLASSES))
    powers = np.exp(logits + certainty * np.eye(CLASSES)[labels])
    return powers / powers.sum(axis=1, keepdims=True)


def clips(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(count) % CLASSES)


@given(seed=seeds)
def test_log_linear_pooling_with_all_weights_1_is_prod(seed):
    members = noise(seed, 4, 6)
    members[1, 2], members[:, 3] = np.nan, np.nan
    plain = np.nanprod(members, axis=0)
    plain = np.where(np.isnan(members).all(axis=0), np.nan, plain / plain.sum(axis=-1, keepdims=True))
    pooled = log_linear(members, np.ones(4))
    np.testing.assert_allclose(pooled, plain, rtol=1e-10)
    np.testing.assert_array_equal(pooled, prod(members))


@given(seed=seeds)
def test_a_member_of_weight_0_is_not_heard_and_one_of_weight_2_is_heard_twice(seed):
    members = noise(seed, 3, 6)
    np.testing.assert_allclose(log_linear(members, np.array([1.0, 0, 1])), prod(members[[0, 2]]), atol=1e-12)
    np.testing.assert_allclose(log_linear(members, np.array([1.0, 2, 1])), prod(members[[0, 1, 1, 2]]), atol=1e-12)


@given(seed=seeds)
def test_the_gradient_is_that_of_finite_differences(seed):
    members, labels = noise(seed, 3, 12), clips(12, seed)
    members[1, 4] = np.nan
    logs, weights = logarithms(members), np.random.default_rng(seed).uniform(0, 3, 3)
    by_steps = approx_fprime(weights, lambda at: penalised_loss(at, logs, labels)[0])
    np.testing.assert_allclose(penalised_loss(weights, logs, labels)[1], by_steps, rtol=1e-4, atol=1e-4)


@given(seed=seeds, count=st.integers(2, 40))
def test_fitted_weights_are_no_worse_than_prod_and_than_any_others(seed, count):
    generator = np.random.default_rng(seed)
    members, labels = noise(seed, 3, count), clips(count, seed)
    logs, weights = logarithms(members), fit_log_linear(members, labels)
    least = penalised_loss(weights, logs, labels)[0]
    assert (weights >= 0).all() and least <= penalised_loss(np.ones(3), logs, labels)[0]
    for other in generator.uniform(0, 3, (20, 3)):
        assert least <= penalised_loss(other, logs, labels)[0] + 1e-6


def test_a_member_of_noise_is_not_heard():
    labels = clips(2000, 0)
    members = np.stack([informed(labels, 1), noise(2, 2000), informed(labels, 3, 3.0)])
    weights = fit_log_linear(members, labels)
    # The informed ones are what they say: the posterior of independent members is their product.
    assert weights[1] < 0.05 and weights[[0, 2]] == pytest.approx([1.5, 3.0], rel=0.15)
    assert shares(fit_stacked(members, labels, PLACES[:2000]), 3)[1] < 0.1


def test_a_handful_of_clips_without_an_error_leaves_the_weights_finite_and_near_prod():
    labels = np.arange(CLASSES)
    certain = np.full((2, CLASSES, CLASSES), 1e-6) + np.eye(CLASSES)
    certain /= certain.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(fit_log_linear(certain, labels), 1, atol=0.01)


def test_a_member_that_knows_nothing_of_the_validation_fold_keeps_its_weight():
    labels = clips(200, 0)
    members = np.stack([informed(labels, 1), np.full((200, CLASSES), np.nan)])
    assert fit_log_linear(members, labels)[1] == 1
    assert shares(fit_stacked(members, labels, PLACES[:200]), 2)[1] == 0


@pytest.mark.parametrize("second", ["as certain", "always the same", "absent"])
def test_members_of_probabilities_0_and_1_are_fused_without_a_warning(second):
    labels = clips(100, 0)
    certain = np.eye(CLASSES)
    others = {"as certain": certain[labels[::-1]], "always the same": certain[np.zeros(100, int)],
              "absent": np.full((100, CLASSES), np.nan)}  # fmt: skip
    for members in (np.stack([certain[labels], others[second]]), np.stack([others["always the same"], others[second]])):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            regression = fit_stacked(members, labels, PLACES[:100])
            heard, weights = shares(regression, 2), fit_log_linear(members, labels)
            fused = [log_linear(members, weights), stacked(members, regression)]
        assert np.isfinite([*heard, *weights]).all() and heard.sum() in (0, pytest.approx(1))
        np.testing.assert_allclose(np.sum(fused, axis=-1), 1)


@pytest.mark.parametrize("places", [40, 1])
def test_stacking_gives_probabilities_and_beats_chance_on_other_clips(places):
    """With many locations the regularisation is chosen by cross-validation, with one a class it is the strongest."""
    labels, others = clips(600, 0), clips(600, 1)
    where = np.char.add(labels.astype(str), np.char.add("-", (np.arange(600) % places).astype(str)))
    # The second member is sure of the class after the true one: only a rule that learns can use it.
    known, unknown = (
        np.stack([informed(true, seed), informed((true + 1) % CLASSES, seed + 1, 3.0)])
        for true, seed in ((labels, 2), (others, 4))
    )
    regression = fit_stacked(known, labels, where)
    unknown[0, 5], unknown[:, 6] = np.nan, np.nan
    fused = stacked(unknown, regression)
    scored = np.arange(600) != 6
    assert np.isnan(fused[6]).all() and (fused[scored] > 0).all()
    np.testing.assert_allclose(fused[scored].sum(axis=1), 1)
    accuracy = (fused.argmax(axis=1) == others)[scored].mean()
    assert accuracy > 0.8 > (prod(unknown).argmax(axis=1) == others)[scored].mean() + 0.3
    assert (regression.C == 1e-3) == (places == 1)


def test_a_class_without_validation_clip_keeps_what_prod_gives_it():
    labels = clips(200, 0)
    here = labels > 0
    members = np.stack([informed(labels, 1), informed(labels, 2)])
    fused = stacked(members, fit_stacked(members[:, here], labels[here], PLACES[: here.sum()]))
    np.testing.assert_allclose(fused[:, 0], prod(members)[:, 0])
    np.testing.assert_allclose(fused.sum(axis=1), 1)


def test_the_regularisation_is_chosen_on_other_locations():
    """Each location gives its clips away by a mark, worth nothing elsewhere: folds of clips would trust it."""
    place = np.arange(400) % 40
    labels = np.random.default_rng(0).permutation(np.arange(40) % CLASSES)[place]
    marks = np.random.default_rng(1).dirichlet(np.full(CLASSES, 0.3), 40)[place]
    grouped = fit_stacked(marks[None], labels, place.astype(str))
    alone = fit_stacked(marks[None], labels, np.arange(400).astype(str))
    assert grouped.C < alone.C


def fuse(*members: str) -> None:
    """The stage in this process: another one would import scikit-learn anew."""
    main(Path("split.csv"), Path("classes.csv"), "f-{rule}.npy", "c-{rule}.csv", "m-{rule}.json",
         [Path(member) for member in members], Path("w.csv"))  # fmt: skip


def write_members(labels: np.ndarray) -> None:
    for seed, (name, right) in enumerate({"mel": 0.7, "noise": 0.1}.items()):
        classes = made_up.predicted(labels, round(right * len(labels)), seed)
        made_up.write(f"made/{name}.npy", made_up.probabilities(classes, seed, (10,)))


def test_the_stage_fits_on_the_validation_fold_alone():
    labels = made_up.write_split(400, 40, validation=20)
    write_members(labels)
    fuse("made/mel.npy", "made/noise.npy")
    weights = pd.read_csv("w.csv")
    assert list(weights) == ["member", *LEARNED] and list(weights["member"]) == ["made/mel", "made/noise"]
    assert weights["log_linear"][1] < 0.1 < weights["log_linear"][0] and weights["stacked"].sum() == pytest.approx(1)
    before = np.load("f-log_linear.npy")
    # What the evaluate clips hold does not count.
    evaluate = np.arange(400) % 40 >= 20
    for name in ("mel", "noise"):
        array = np.load(f"made/{name}.npy")
        array[evaluate] = array[evaluate][::-1]
        np.save(f"made/{name}.npy", array)
    fuse("made/mel.npy", "made/noise.npy")
    pd.testing.assert_frame_equal(pd.read_csv("w.csv"), weights)
    np.testing.assert_array_equal(np.load("f-log_linear.npy")[~evaluate], before[~evaluate])


def test_without_a_validation_fold_the_learned_rules_are_not_run(capsys):
    write_members(made_up.write_split(40, 10))
    fuse("made/mel.npy", "made/noise.npy")
    assert capsys.readouterr().err == "not run: log_linear and stacked: no validation fold, or of one class\n"
    for rule in LEARNED:
        assert np.isnan(np.load(f"f-{rule}.npy")).all() and Path(f"m-{rule}.json").read_text().count("null") == 6
    assert not np.isnan(np.load("f-prod.npy")).any() and pd.read_csv("w.csv")[list(LEARNED)].isna().all(axis=None)
