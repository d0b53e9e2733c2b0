"""Patches, deltas and mixup."""

import librosa
import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from scenes.classifiers.patches import STARTS, patches
from scenes.classifiers.strict import strict_patches
from scenes.learning.mixup import PARTS, check, mixup
from scenes.stage.errors import InputError


def test_ten_half_overlapping_patches():
    assert list(STARTS) == [0, 64, 128, 192, 256, 320, 384, 448, 512, 576]
    spectrograms = np.random.default_rng(0).standard_normal((3, 2, 128, 704)).astype(np.float16)
    clips, seconds = np.array([2, 0, 1, 1]), np.array([0, 9, 4, 5])
    cut = patches(spectrograms, clips, seconds)
    assert cut.shape == (4, 128, 128, 6) and cut.dtype == np.float32
    for patch, clip, second in zip(cut, clips, seconds, strict=True):
        expected = spectrograms[clip, :, :, 64 * second : 64 * second + 128].transpose(1, 2, 0)
        np.testing.assert_array_equal(patch[..., :2], expected)


def test_deltas_are_librosas_over_the_whole_spectrogram():
    spectrogram = np.random.default_rng(1).standard_normal((2, 128, 704)).astype(np.float32)
    whole = [spectrogram, *(librosa.feature.delta(spectrogram, width=9, order=order) for order in (1, 2))]
    cut = patches(spectrogram[None], np.zeros(10, int), np.arange(10))
    for second, patch in enumerate(cut):
        start = STARTS[second]
        expected = np.concatenate([kind[..., start : start + 128] for kind in whole]).transpose(1, 2, 0)
        np.testing.assert_allclose(patch, expected, atol=1e-5)


def test_strict_patches_have_the_deltas_of_their_second_and_are_wrapped():
    spectrograms = np.random.default_rng(3).standard_normal((2, 10, 2, 128, 72)).astype(np.float16)
    rows = np.array([-1, 0, 0, 1])  # the first and the third clip are in train, without a row of their own
    cut = strict_patches(spectrograms, rows, np.array([3, 1]), np.array([4, 9]))
    assert cut.shape == (2, 128, 128, 6) and cut.dtype == np.float32
    for patch, second in zip(cut, (spectrograms[1, 4], spectrograms[0, 9]), strict=True):
        second = second.astype(np.float32)
        whole = [second, *(librosa.feature.delta(second, width=9, order=order) for order in (1, 2))]
        expected = np.concatenate([np.concatenate([kind, kind[..., :56]], axis=-1) for kind in whole])
        np.testing.assert_allclose(patch, expected.transpose(1, 2, 0), atol=1e-5)


SAMPLES = np.random.default_rng(2).standard_normal((7, 4, 3)).astype(np.float32)
LABELS = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0, 1]]


@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, unique=True),
    alpha=st.floats(0.05, 5),
    size=st.integers(2, 7),
    seed=st.integers(0, 99),
)
def test_mixup_laws(parts, alpha, size, seed):
    samples, labels = mixup(SAMPLES[:size], LABELS[:size], parts, alpha, np.random.default_rng(seed))
    assert len(samples) == len(labels) == 2 * len(parts) * (size // 2)
    assert samples.dtype == labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert (labels >= 0).all() and (np.abs(samples) <= np.abs(SAMPLES).max() + 1e-6).all()
    # One lambda for a sample and its label: mixing the labels' own coordinates gives the labels again.
    again, same = mixup(LABELS[:size], LABELS[:size], parts, alpha, np.random.default_rng(seed))
    np.testing.assert_allclose(again, same, rtol=1e-6)


def test_all_parts_make_the_batch_three_times_as_large_and_lambda_one_is_the_original():
    samples, labels = mixup(SAMPLES[:6], LABELS[:6], list(PARTS), 0.4, np.random.default_rng(0))
    assert len(samples) == 18
    np.testing.assert_array_equal(samples[6:12], SAMPLES[:6])
    np.testing.assert_array_equal(labels[6:12], LABELS[:6])
    # The two mixtures of a pair use lambda and 1 - lambda: together they are the pair again.
    np.testing.assert_allclose(samples[0] + samples[3], SAMPLES[0] + SAMPLES[3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("part", "alpha", "law"),
    [
        ("beta", 0.1, scipy.stats.beta(0.1, 0.1)),
        ("beta", 0.4, scipy.stats.beta(0.4, 0.4)),
        ("beta", 2.0, scipy.stats.beta(2.0, 2.0)),
        ("uniform", 0.4, scipy.stats.uniform()),
    ],
)
def test_lambda_has_its_law(part, alpha, law):
    """By Kolmogorov-Smirnov; of a pair of 1 and 0 the mixture is lambda."""
    samples = np.repeat([1.0, 0.0], 4000)
    mixed, labels = mixup(samples, np.stack([samples, 1 - samples], axis=1), [part], alpha, np.random.default_rng(0))
    first, second = mixed[:4000], mixed[4000:]
    assert scipy.stats.kstest(first, law.cdf).pvalue > 0.01
    np.testing.assert_allclose(first + second, 1)
    np.testing.assert_array_equal(labels[:, 0], mixed)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.05  # a draw for each pair


@pytest.mark.parametrize("parts", [["gamma"], ["beta", "beta"], []])
def test_bad_mixup_is_refused(parts):
    with pytest.raises(InputError):
        check(parts)
