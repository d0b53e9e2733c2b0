"""Patches, deltas and mixup."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy
from conftest import run
from hypothesis import given
from hypothesis import strategies as st
from network_inputs import patches, strict_patches

from scenes.classifiers.patch_layer import mapped
from scenes.classifiers.patches import delta_maps, frame_count, patch_shape, patch_starts, patch_width
from scenes.features import spectrogram as transforms
from scenes.learning.backend import keras
from scenes.learning.mixup import PARTS, check, draw, mix
from scenes.stage.errors import InputError


def test_ten_half_overlapping_patches():
    assert list(patch_starts(128)) == [0, 64, 128, 192, 256, 320, 384, 448, 512, 576]
    spectrograms = np.random.default_rng(0).standard_normal((3, 2, 128, 704)).astype(np.float16)
    clips, seconds = np.array([2, 0, 1, 1]), np.array([0, 9, 4, 5])
    cut = patches(spectrograms, clips, seconds)
    assert cut.shape == (4, 128, 128, 6) and cut.dtype == np.float32
    for patch, clip, second in zip(cut, clips, seconds, strict=True):
        expected = spectrograms[clip, :, :, 64 * second : 64 * second + 128].transpose(1, 2, 0)
        np.testing.assert_array_equal(patch[..., :2], expected)


@pytest.mark.parametrize("width", [14, 86, 128, 256])
def test_deltas_are_librosas_over_the_whole_spectrogram(width):
    spectrogram = np.random.default_rng(1).standard_normal((2, 16, 11 * width // 2)).astype(np.float32)
    whole = [spectrogram, *(librosa.feature.delta(spectrogram, width=9, order=order) for order in (1, 2))]
    cut = patches(spectrogram[None], np.zeros(10, int), np.arange(10))
    for second, patch in enumerate(cut):
        start = second * width // 2
        expected = np.concatenate([kind[..., start : start + width] for kind in whole]).transpose(1, 2, 0)
        np.testing.assert_allclose(patch, expected, atol=1e-5)


def test_the_papers_patches_have_the_bits_of_maps_over_all_704_frames():
    spectrogram = np.random.default_rng(1).standard_normal((1, 2, 16, 704)).astype(np.float32)
    for second, start in enumerate(range(0, 577, 64)):
        around = slice(min(max(start - 4, 0), 704 - 136), min(max(start - 4, 0), 704 - 136) + 136)
        maps = [full[around, start : start + 128] for full in delta_maps(704)]
        expected = mapped(spectrogram[..., around], np.concatenate(maps, axis=-1).astype(np.float32)[None])
        found = patches(spectrogram, np.array([0]), np.array([second]))
        np.testing.assert_array_equal(found, keras.ops.convert_to_numpy(expected))


@pytest.mark.parametrize(
    ("rate", "hop", "width", "frames"),
    [(48_000, 672, 128, 704), (48_000, 336, 256, 1408), (96_000, 672, 256, 1408), (32_000, 672, 86, 473)],
)
def test_a_patch_lasts_as_long_at_any_hop_and_rate(rate, hop, width, frames):
    assert (patch_width(rate, hop), frame_count(rate, hop)) == (width, frames)
    assert patch_shape(np.empty((3, 2, 16, frames))) == (16, width)
    first, spectrograms = np.zeros(1, int), np.zeros((1, 10, 2, 16, rate // hop + 1))
    assert strict_patches(spectrograms, first, first).shape == (1, 16, width, 6)


@given(rate=st.integers(8_000, 192_000), hops=st.floats(8, 400))
def test_ten_patches_lie_in_the_clip_and_span_it(rate, hops):
    hop = int(rate / hops)
    width, frames = patch_width(rate, hop), frame_count(rate, hop)
    assert frames == patch_starts(width)[-1] + width and width % 2 == 0 and width >= 8
    assert 9.1 * rate < frames * hop and (frames - 1) * hop <= 10 * rate


@pytest.mark.parametrize("kind", ["mel", "cqt"])
@pytest.mark.parametrize(("rate", "hop"), [(48_000, 672), (48_000, 336), (96_000, 672), (32_000, 672)])
def test_a_click_in_the_ninth_second_is_in_the_ninth_patch(kind, rate, hop):
    sound = np.zeros((1, 10 * rate), np.float32)
    sound[:, int(8.4 * rate)] = 0.9
    numbers = {"sample_rate": rate, "hop": hop, "bins": 32, "fmin": 200.0, "frames": frame_count(rate, hop)}
    numbers |= {"fmax": 8000.0, "window": int(0.08 * rate)} if kind == "mel" else {}
    spectrogram = getattr(transforms, kind)(sound, **numbers)
    cut = patches(spectrogram[None], np.zeros(10, int), np.arange(10))[..., 0]
    heard = cut.max(axis=(1, 2)) > np.log(1e-10) + 1
    assert list(np.flatnonzero(heard)) == [8, 9]


def test_a_hop_that_leaves_too_few_frames_for_deltas_is_refused():
    patch_width(48_000, 6_000)
    with pytest.raises(InputError, match="^hop is 6001 samples at 48000 Hz, 8 frames a second, .* set hop to 6000 or"):
        frame_count(48_000, 6_001)
    with pytest.raises(InputError, match="^a spectrogram has 703 frames, not a multiple of 11"):
        patch_shape(np.zeros((1, 2, 16, 703)))


def test_strict_patches_have_the_deltas_of_their_second_and_are_wrapped():
    spectrograms = np.random.default_rng(3).standard_normal((2, 10, 2, 128, 72)).astype(np.float16)
    cut = strict_patches(spectrograms, np.array([1, 0]), np.array([4, 9]))
    assert cut.shape == (2, 128, 128, 6) and cut.dtype == np.float32
    for patch, second in zip(cut, (spectrograms[1, 4], spectrograms[0, 9]), strict=True):
        second = second.astype(np.float32)
        whole = [second, *(librosa.feature.delta(second, width=9, order=order) for order in (1, 2))]
        expected = np.concatenate([np.concatenate([kind, kind[..., :56]], axis=-1) for kind in whole])
        np.testing.assert_allclose(patch, expected.transpose(1, 2, 0), atol=1e-5)


def test_every_reader_takes_the_width_of_a_patch_from_the_array():
    """Training and all predictions at a hop of 7 ms: whole clips, single seconds, and clips with noise."""
    folds = ["train"] * 4 + ["evaluate"] * 3
    rows = [f"c{number},{'ab'[number % 2]},x,{number},{fold},a.wav," for number, fold in enumerate(folds)]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\na,x\nb,x\n")
    generator = np.random.default_rng(0)
    for name, shape in {"clips": (7, 2, 8, 1408), "strict": (3, 10, 2, 8, 143), "noisy": (3, 2, 2, 8, 1408)}.items():
        np.save(f"{name}.npy", generator.standard_normal(shape).astype(np.float16))
    small = ["--dense=2", *["--widths=2"] * 4]
    tables, model, scores = ["split.csv", "classes.csv"], "m.weights.h5", ["p.npy", "c.csv", "m.json"]
    training = ["--epochs=1", "--batch=8", "--seconds=2", "--mixup=beta", "--precision=float32"]
    for command, shape in (
        (["train_spectrogram.py", *tables, "clips.npy", model, "h.csv", *training], None),
        (["predict.py", "audio-spectrogram", *tables, "clips.npy", model, *scores], (3, 10, 2)),
        (["predict.py", "audio-spectrogram-strict", *tables, "strict.npy", model, *scores], (3, 10, 2)),
        (["predict_robustness.py", "audio-spectrogram", *tables, "noisy.npy", model, "p.npy"], (2, 3, 10, 2)),
    ):
        result = run(*command, *small)
        assert result.returncode == 0, result.stderr
        assert shape is None or np.load("p.npy").shape == shape and np.isfinite(np.load("p.npy")).all()


SAMPLES = np.random.default_rng(2).standard_normal((3, 2, 4, 3)).astype(np.float32)
LABELS = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 4, 0]].reshape(3, 2, 5)


@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, unique=True),
    alpha=st.floats(0.05, 5),
    pairs=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_mixup_laws(parts, alpha, pairs, seed):
    weights = draw(parts, alpha, pairs, np.random.default_rng(seed)).astype(np.float32)
    samples, labels = mix(SAMPLES[:pairs], weights), mix(LABELS[:pairs], weights)
    assert samples.shape == (pairs, 2 * len(parts), 4, 3) and labels.shape == (pairs, 2 * len(parts), 5)
    assert samples.dtype == labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-6)
    assert (labels >= 0).all() and (np.abs(samples) <= np.abs(SAMPLES).max() + 1e-6).all()
    # On the device it is the same.
    on_device = mix(keras.ops.convert_to_tensor(SAMPLES[:pairs]), keras.ops.convert_to_tensor(weights))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(on_device), samples, rtol=1e-5, atol=1e-6)


def test_all_parts_make_the_batch_three_times_as_large_and_lambda_one_is_the_original():
    weights = draw(list(PARTS), 0.4, 3, np.random.default_rng(0)).astype(np.float32)
    samples, labels = mix(SAMPLES, weights), mix(LABELS, weights)
    assert samples.shape[:2] == (3, 6)
    np.testing.assert_array_equal(samples[:, 2:4], SAMPLES)
    np.testing.assert_array_equal(labels[:, 2:4], LABELS)
    # The two mixtures of a pair use lambda and 1 - lambda: together they are the pair again.
    np.testing.assert_allclose(samples[:, 0] + samples[:, 1], SAMPLES.sum(axis=1), rtol=1e-5, atol=1e-6)


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
    """By Kolmogorov-Smirnov."""
    first, second = draw([part], alpha, 4000, np.random.default_rng(0)).T
    assert scipy.stats.kstest(first, law.cdf).pvalue > 0.01
    np.testing.assert_allclose(first + second, 1)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.05  # a draw for each pair


@pytest.mark.parametrize("parts", [["gamma"], ["beta", "beta"], []])
def test_bad_mixup_is_refused(parts):
    with pytest.raises(InputError):
        check(parts)
