"""A step in micro-batches is the step of the whole batch; a training killed within an epoch goes on within it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BACKENDS, ROOT

from scenes.learning.backend import keras
from scenes.learning.front import as_stored
from scenes.learning.memory import said_if_exhausted
from scenes.learning.mixup import PARTS, MixedBatches, Mixture, mixtures_of
from scenes.stage.errors import InputError

TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
SAMPLES = np.random.default_rng(0).standard_normal((4, 10, 6)).astype(np.float32)

# Trainings of one step, of 24 samples after mixup, in one piece and in four: what they change.
STEP = """
import sys
from pathlib import Path
import numpy as np
import pandas as pd
from scenes.learning import training
from scenes.learning.backend import keras
from scenes.learning.front import as_stored

if "plain" in sys.argv:
    training.adam = lambda rate, steps: keras.optimizers.SGD(
        rate, gradient_accumulation_steps=steps if steps > 1 else None)
samples = np.random.default_rng(0).standard_normal((4, 10, 6)).astype("float32")
split = pd.DataFrame({"scene": list("abca"), "fold": "train", "audio": "x"})
classes = pd.DataFrame({"class": list("abc")})
Path("input").touch()
for micro_batch in (24, 6):
    recipe = training.Recipe(1, 8, micro_batch, 2, 1.0, 1e-2, ["beta", "original", "uniform"], 0.4)
    training.prepare(recipe)
    x = inputs = keras.Input((6,))
    for _ in range(2):
        x = keras.layers.Dense(8, activation="relu")(x)
        if "norm" in sys.argv:
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
    network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in network.variables]
    training.train(network, as_stored(6), lambda clips, seconds: samples[clips, seconds], split, classes, ["audio"],
                   [Path("input")], Path("m.weights.h5"), Path(f"{micro_batch}.csv"), recipe)
    after = [keras.ops.convert_to_numpy(variable) for variable in network.variables]
    np.savez(f"{micro_batch}.npz", *[new - old for new, old in zip(after, before)],
             momentum=[layer.momentum for layer in network.layers if hasattr(layer, "momentum")])
"""


def changes(backend: str, *words: str) -> list[dict[str, np.ndarray]]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join((str(ROOT / "stages"), *sys.path)),
    }
    subprocess.run([sys.executable, "-c", STEP, *words], check=True, env=environment)
    return [dict(np.load(f"{micro_batch}.npz")) for micro_batch in (24, 6)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gradient_of_a_step_is_the_same_in_one_piece_and_in_four(backend):
    whole, parts = changes(backend, "plain")
    assert len(whole) == 7
    for name, expected in whole.items():
        assert name == "momentum" or np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(parts[name], expected, rtol=0, atol=1e-5 * np.abs(expected).max(initial=0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_moving_averages_keep_their_time_constant(backend):
    """A mean is linear: four micro-batches move it by about as much as their batch, and forget as much of the start."""
    whole, parts = changes(backend, "norm")
    assert list(whole["momentum"]) == [0.9, 0.9]
    np.testing.assert_allclose(parts["momentum"] ** 4, whole["momentum"])
    moving_mean = "arr_4"  # kernel, bias, gamma, beta, moving mean and variance
    remembered = parts["momentum"][0] ** np.arange(4)[::-1]
    assert np.abs(whole[moving_mean]).max() > 0.01
    assert (1 - parts["momentum"][0]) * remembered.sum() == pytest.approx(1 - 0.9)
    close = np.abs(parts[moving_mean] - whole[moving_mean]).max() / np.abs(whole[moving_mean]).max()
    assert close < 0.05  # the later ones weigh a little more


def batches(size: int = 8, micro_batch: int | None = None, parts: tuple[str, ...] = PARTS, **changed) -> MixedBatches:
    def load(clips, seconds):
        return SAMPLES[clips, seconds]

    arguments = {"clips": np.arange(4), "seconds": 10, **changed}
    return MixedBatches(
        load, arguments["clips"], TARGETS, size, arguments["seconds"], 3, 10,
        parts=list(parts), alpha=0.4, micro_batch=micro_batch,
    )  # fmt: skip


@pytest.mark.parametrize("parts", [PARTS, ("beta",), ("original", "uniform")])
@pytest.mark.parametrize("size", [8, 9])
def test_micro_batches_are_their_batch_in_pieces(parts, size):
    whole = batches(size, parts=parts)
    mixtures = mixtures_of(parts)
    assert len(whole) == 40 // size
    for pairs in (1, 2, 4):
        pieces = batches(size, mixtures * pairs, parts)
        count = 4 // pairs
        assert len(pieces) == count * len(whole) and pieces.micro_batches == count
        for index in range(len(whole)):
            (samples, weights), labels = whole[index]
            of_pieces = [pieces[count * index + part] for part in range(count)]
            assert of_pieces[0][0][0].shape == (pairs, 2, 6) and of_pieces[0][1].shape == (pairs, mixtures, 3)
            np.testing.assert_array_equal(np.concatenate([piece[0][0] for piece in of_pieces]), samples)
            np.testing.assert_array_equal(np.concatenate([piece[0][1] for piece in of_pieces]), weights)
            np.testing.assert_array_equal(np.concatenate([piece[1] for piece in of_pieces]), labels)


@pytest.mark.parametrize("micro_batch", [0, -6, 1, 5, 12 + 6, 30])
def test_what_does_not_divide_a_batch_is_refused_with_what_does(micro_batch):
    message = f"^micro_batch: {micro_batch} does not divide a batch of 8, .* 24 samples, 6 of a pair; set it to one of "
    with pytest.raises(InputError, match=message + "6, 12, 24$"):
        batches(8, micro_batch)


def test_the_papers_batch_has_these_micro_batches():
    with pytest.raises(InputError, match="set it to one of 6, 12, 30, 60, 150, 300$"):
        batches(100, 100)


def test_a_data_set_smaller_than_a_batch_is_cut_within_the_micro_batch():
    few = batches(100, 30, clips=np.arange(1), seconds=7)  # seven samples, three pairs
    assert few.pairs_at_once == 3 and len(few) == 1
    few = batches(100, 12, clips=np.arange(2))  # twenty samples, ten pairs
    assert few.pairs_at_once == 2 and few.micro_batches == 5
    with pytest.raises(InputError, match="nothing to mix it with"):
        batches(100, 30, clips=np.arange(1), seconds=1)


def test_embeddings_are_mixed_in_float32_whatever_the_networks_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    pairs = np.array([[[1.001, 2.003], [3.1, 4.7]]], np.float32)
    samples = as_stored(2)(pairs.reshape(2, 2))
    mixed = Mixture()(samples, np.array([[1, 0]], np.float32))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mixed), pairs[0])


def test_what_was_seen_before_a_kill_is_left_out():
    pieces = batches(8, 6)
    expected = [pieces[index] for index in range(len(pieces))]
    pieces.start = 4
    assert len(pieces) == 16
    for index in range(16):
        found, whole = (keras.tree.flatten(piece) for piece in (pieces[index], expected[4 + index]))
        assert len(found) == 3
        for array, other in zip(found, whole, strict=True):
            np.testing.assert_array_equal(array, other)


class ResourceExhaustedError(Exception):
    """TensorFlow's has this text too."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        ResourceExhaustedError("OOM when allocating tensor with shape[300,64,128,128]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1073741824 bytes."),
    ],
)
def test_out_of_memory_is_one_line_with_the_micro_batches_to_try(error):
    network = keras.Sequential([keras.Input((331, 331, 3)), keras.layers.Flatten()], name="NASNetLarge")
    of_paper = batches(100, 30, clips=np.tile(np.arange(4), 3))
    message = r"^a.h5: out of memory: NASNetLarge at 331x331x3 with a micro_batch of 30; lower it to 6 or 12$"
    with pytest.raises(InputError, match=message), said_if_exhausted(Path("a.h5"), network, of_paper):
        raise error
    least = batches(100, 6, clips=np.tile(np.arange(4), 3))
    message = "of 6; nothing smaller is possible"
    with pytest.raises(InputError, match=message), said_if_exhausted(Path("a.h5"), network, least):
        raise error


def test_other_errors_are_not_taken_for_it():
    with pytest.raises(RuntimeError, match="another"), said_if_exhausted(Path("a.h5"), keras.Sequential(), batches()):
        raise RuntimeError("another")


# A training in as much memory as the process has by then, and 400 MB.
SCARCE = """
import resource, sys
import train_embedding
from scenes.learning import training
from scenes.stage.cli import run
fit = training.Trainer.fit
def limited(*arguments, **keywords):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 400 * 2**20,) * 2)
    return fit(*arguments, **keywords)
training.Trainer.fit = limited
run(train_embedding.main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_training_in_too_little_memory_says_what_to_lower_and_with_that_it_runs():
    rows = [f"c{i},{'ab'[i % 2]},x,{i},train,a.wav," for i in range(200)]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\na,x\nb,y\n")
    np.save("e.npy", np.random.default_rng(0).standard_normal((200, 10, 8)).astype(np.float32))
    words = "audio-embedding split.csv classes.csv e.npy m.weights.h5 h.csv --epochs 1 --batch 2000 --widths 60000"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "stages"), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    for micro_batch, code in ((6000, 1), (60, 0)):
        ended = subprocess.run(
            [sys.executable, "-c", SCARCE, *words.split(), "--micro-batch", str(micro_batch)],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr
        message = "error: m.weights.h5: out of memory: mlp at 8 with a micro_batch of 6000; lower it to "
        assert code == 0 or ended.stderr.splitlines()[-1].startswith(message)
