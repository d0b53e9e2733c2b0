"""VGG14 against Table I, the loss of Eq. 1, batch norm, and the training loop."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, needs_tensorflow

from scenes.classifiers.vgg14 import Options, vgg14
from scenes.learning import callbacks, training
from scenes.learning.backend import keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.batches import Batches, ShuffledBatches
from scenes.learning.callbacks import HISTORY_COLUMNS, TIMING_COLUMNS
from scenes.learning.front import as_stored
from scenes.learning.inference import BATCH, batch_size, forward
from scenes.learning.mixup import MixedBatches
from scenes.learning.optimizer import FlatAdam, adam
from scenes.learning.trainer import Trainer
from scenes.learning.training import Recipe, train
from scenes.stage.errors import InputError

layers = keras.layers


# Each of the 12 rows of convolutions in Table I reads BN - Conv - ReLU - BN: 24 batch norms.
@pytest.mark.parametrize(("batch_norm", "block", "first", "norms"),
                         [("both", ["BN", "Conv", "BN"], [], 24), ("after", ["Conv", "BN"], ["BN"], 13)])  # fmt: skip
def test_vgg14_is_table_1(batch_norm, block, first, norms):
    network = vgg14(10, Options(batch_norm=batch_norm))
    table = [layer for layer in network.layers if not isinstance(layer, (layers.Dropout, layers.InputLayer))]
    kinds = {
        layers.BatchNormalization: "BN", layers.Conv2D: "Conv", layers.AveragePooling2D: "AP",
        layers.GlobalAveragePooling2D: "GAP", layers.Dense: "FC",
    }  # fmt: skip
    groups = [2 * block, 2 * block, 4 * block, 4 * block]
    expected = [*first, *groups[0], "AP", *groups[1], "AP", *groups[2], "AP", *groups[3], "GAP", "FC", "FC"]
    assert [kinds[type(layer)] for layer in table] == expected and expected.count("BN") == norms

    convolutions = [layer for layer in table if isinstance(layer, layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 4
    assert all(layer.kernel_size == (3, 3) and layer.padding == "same" for layer in convolutions)
    assert [layer.output.shape[1] for layer in convolutions] == [128] * 2 + [64] * 2 + [32] * 4 + [16] * 4
    assert [layer.units for layer in table[-2:]] == [1024, 10]

    channels = [6, 64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512]
    weights = sum(9 * before * after + after for before, after in zip(channels, channels[1:], strict=False))
    dense = 512 * 1024 + 1024 + 1024 * 10 + 10
    normed = sum(channels) + (sum(channels[1:-1]) if batch_norm == "both" else 0)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == weights + dense + 2 * normed
    assert 11.1e6 < weights + dense < 11.2e6


@pytest.mark.parametrize("batch_norm", ["both", "after"])
def test_log_magnitudes_keep_half_a_decibel_in_bfloat16(batch_norm):
    """A nat is 8.7 dB: bfloat16 rounds -20.05 to -20."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = vgg14(10, Options([4] * 4, 8, batch_norm=batch_norm))
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert [layer.compute_dtype for layer in norms] == ["float32"] + ["bfloat16"] * (len(norms) - 1)
    first = keras.Model(network.input, norms[0].output)
    quiet, louder = (keras.ops.convert_to_numpy(first(np.full((1, 128, 128, 6), value, np.float32)))
                     for value in (-20.05, -20.0))  # fmt: skip
    np.testing.assert_allclose(louder - quiet, 0.05, atol=1e-3)


def test_vgg14_wants_four_widths():
    with pytest.raises(InputError, match="4 values"):
        vgg14(10, Options([8, 8], 16))


def small_network(rate: float = 0.0) -> keras.Model:
    keras.utils.clear_session(free_memory=False)  # or the layers' names would count on
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6,))
    for _ in range(2):
        x = layers.BatchNormalization()(layers.Dense(8, activation="relu")(x))
        x = layers.Dropout(rate)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


SAMPLES = np.random.default_rng(0).standard_normal((8, 10, 6)).astype(np.float32) + 3
TARGETS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2, 0, 1]]


def load(clips, seconds):
    return SAMPLES[clips, seconds]


FRONT = as_stored(6)


def trainer_of(network: keras.Model, optimizer: keras.optimizers.Optimizer, l2: float = 0.0) -> Trainer:
    """Of pairs of which mixup makes two samples each."""
    return Trainer(as_stored(network.input_shape[-1]), network, 2, optimizer, l2)


def test_loss_is_equation_1():
    network, l2 = small_network(), 0.03
    samples, targets = SAMPLES[:4, 0], np.array([[0.7, 0.3, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 0, 0]], np.float32)
    predicted = keras.ops.convert_to_numpy(network(samples, training=False)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(targets > 0, targets * np.log(targets / predicted), 0).sum(axis=1).mean()
    norm = sum(
        (keras.ops.convert_to_numpy(variable).astype(np.float64) ** 2).sum() for variable in network.trainable_variables
    )
    pairs = (samples.reshape(2, 2, 6), np.tile(np.float32([1, 0]), (2, 1)))  # unmixed
    loss = trainer_of(network, keras.optimizers.SGD(), l2).evaluate(pairs, targets.reshape(2, 2, 3), verbose=0)[0]
    assert loss == pytest.approx(divergence + l2 / 2 * norm, rel=1e-5)


def test_flat_adam_takes_keras_steps():
    generator = np.random.default_rng(0)
    starts = [generator.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,), (2, 2, 2))]
    ends = []
    for optimizer in (keras.optimizers.Adam(0.01), FlatAdam(0.01)):
        variables = [keras.Variable(start) for start in starts]
        optimizer.build(variables)
        generator = np.random.default_rng(1)
        for _ in range(20):
            gradients = [generator.standard_normal(start.shape).astype(np.float32) for start in starts]
            optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
        assert int(optimizer.iterations) == 20
        ends.append([keras.ops.convert_to_numpy(variable) for variable in variables])
    for start, expected, found in zip(starts, *ends, strict=True):
        assert np.abs(expected - start).max() > 0.02
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_flat_adam_averages_gradients_as_keras_does():
    generator = np.random.default_rng(0)
    starts = [generator.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    ends = []
    for optimizer in (
        keras.optimizers.Adam(0.01, gradient_accumulation_steps=4),
        FlatAdam(0.01, gradient_accumulation_steps=4),
    ):
        variables = [keras.Variable(start) for start in starts]
        optimizer.build(variables)
        generator = np.random.default_rng(1)
        for call in range(1, 13):
            gradients = [generator.standard_normal(start.shape).astype(np.float32) for start in starts]
            before = keras.ops.convert_to_numpy(variables[0])
            optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients], variables)
            assert (keras.ops.convert_to_numpy(variables[0]) != before).any() == (call % 4 == 0)
        assert int(optimizer.iterations) == 3
        ends.append([keras.ops.convert_to_numpy(variable) for variable in variables])
    for expected, found in zip(*ends, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_reestimated_statistics_are_those_of_the_data():
    network = small_network(rate=0.5)
    batches = Batches(load, np.arange(8), TARGETS, 80)
    samples = batches[0][0]
    rough = keras.ops.convert_to_numpy(network(samples, training=False))
    reestimate(network, batches)
    exact = keras.ops.convert_to_numpy(network(samples, training=False))
    for layer in network.layers:
        if isinstance(layer, layers.Dropout):
            assert layer.rate == 0.5
            layer.rate = 0.0
        if isinstance(layer, layers.BatchNormalization):
            assert layer.momentum == 0.99
    np.testing.assert_allclose(exact, keras.ops.convert_to_numpy(network(samples, training=True)), rtol=1e-4)
    assert np.abs(rough - exact).max() > 0.01


def test_reestimation_averages_over_batches():
    network = small_network()
    norm = next(layer for layer in network.layers if isinstance(layer, layers.BatchNormalization))
    hidden = keras.Model(network.input, norm.input)
    batches = Batches(load, np.arange(8), TARGETS, 20)
    expected = np.mean([keras.ops.convert_to_numpy(hidden(batches[i][0])).mean(axis=0) for i in range(4)], axis=0)
    reestimate(network, batches)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(norm.moving_mean), expected, rtol=1e-5)


def test_batches_in_order_and_shuffled():
    clips = np.array([1, 4, 6])
    ordered = Batches(load, clips, TARGETS, 8)
    assert len(ordered) == 4 and len(ordered[3][0]) == 6
    np.testing.assert_array_equal(np.concatenate([ordered[i][0] for i in range(4)]), SAMPLES[clips].reshape(-1, 6))

    shuffled = ShuffledBatches(load, clips, TARGETS, 4, 3, seed=1)
    assert len(shuffled) == 2
    first = shuffled.pairs.copy()
    assert sorted(first[0]) == [1, 1, 1, 4, 4, 4, 6, 6, 6] and len(set(map(tuple, first.T))) == 9
    shuffled.shuffle(epoch=1)
    assert (shuffled.pairs != first).any()
    shuffled.shuffle(epoch=0)
    np.testing.assert_array_equal(shuffled.pairs, first)
    np.testing.assert_array_equal(shuffled[0][1], TARGETS[first[0, :4]])

    mixed = MixedBatches(load, clips, TARGETS, 4, 3, 1, parts=["beta", "original"], alpha=0.4)
    (samples, weights), labels = mixed[0]
    assert samples.shape == (2, 2, 6) and weights.shape == (2, 4) and labels.shape == (2, 4, 3)
    np.testing.assert_array_equal(weights, mixed[0][0][1])


def test_forward_fills_the_last_batch_and_drops_the_filling():
    network = small_network()
    inputs = np.random.default_rng(0).standard_normal((BATCH + 3, 6)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(network(inputs))
    for batch in (None, BATCH):
        np.testing.assert_allclose(forward(network, inputs, batch), expected, rtol=1e-6, atol=1e-7)


def test_small_samples_go_in_larger_batches_under_torch_alone():
    small, large = keras.Input((100,)), keras.Input((331, 331, 3))
    torch = keras.backend.backend() == "torch"
    assert batch_size(keras.Model([small, small], small)) == (2**21 // 200 if torch else BATCH)
    assert batch_size(keras.Model(large, large)) == BATCH


def run_training(
    folder: str, network: keras.Model, epochs: int = 6, fold: str = "validation", load=load, keep="last", **changes
) -> pd.DataFrame:
    split = pd.DataFrame({"scene": list("abcabcab"), "fold": ["train"] * 6 + [fold] * 2, "audio": "x"})
    classes = pd.DataFrame({"class": list("abc")})
    if not Path("input").exists():  # or it would be another input, and the training start anew
        Path("input").touch()
    recipe = replace(Recipe(epochs, 10, None, 10, 0.01, 1e-4, ["beta"], 0.4, True, 0), **changes)
    model, history = Path(folder, "m.weights.h5"), Path(folder, "h.csv")
    train(network, FRONT, load, split, classes, ["audio"], [Path("input")], model, history, recipe, keep=keep)
    return pd.read_csv(history)


def test_training_leaves_weights_and_history_and_repeats_itself():
    history = run_training("a", small_network(0.2))
    assert list(history.columns) == HISTORY_COLUMNS and list(history["epoch"]) == list(range(1, 7))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] and history["val_loss"].notna().all()
    run_training("b", small_network(0.2))
    weights = Path("a/m.weights.h5").read_bytes()
    assert weights == Path("b/m.weights.h5").read_bytes()
    assert Path("a/h.csv").read_bytes() == Path("b/h.csv").read_bytes()
    timing = pd.read_csv("a/h.timing.csv")
    assert list(timing.columns) == TIMING_COLUMNS and list(timing["epoch"]) == list(history["epoch"])
    assert len(weights) < 60_000 and not Path(".resume").joinpath("a-m.weights.h5").exists()
    restored = small_network()
    restored.load_weights("a/m.weights.h5")


def test_threads_that_make_batches_ahead_change_nothing(monkeypatch):
    run_training("alone", small_network(0.2), epochs=3)
    monkeypatch.setattr(training, "on_gpu", lambda: True)
    run_training("threads", small_network(0.2), epochs=3)
    assert Path("alone/m.weights.h5").read_bytes() == Path("threads/m.weights.h5").read_bytes()


def test_without_validation_its_columns_stay_empty():
    assert run_training("a", small_network(), epochs=1, fold="evaluate")["val_loss"].isna().all()


def test_an_interrupted_training_goes_on_to_the_same_weights(monkeypatch):
    run_training("whole", small_network(0.2))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MixedBatches, "shuffle", interrupt_at(3, MixedBatches.shuffle))
        run_training("cut", small_network(0.2))
    assert not Path("cut").exists()
    run_training("cut", small_network(0.2))
    assert_same("cut", "whole")


def assert_same(folder: str, other: str) -> None:
    """Two trainings have left the same."""
    tables = [pd.read_csv(f"{name}/h.csv") for name in (folder, other)]
    np.testing.assert_allclose(*tables, rtol=1e-5)
    networks = [small_network() for _ in tables]
    for network, name in zip(networks, (folder, other), strict=True):
        network.load_weights(f"{name}/m.weights.h5")
    for found, expected in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def interrupt_at(epoch, shuffle):
    def interrupted(batches, number=None, **keywords):
        number = keywords.get("epoch", number)
        if number == epoch:
            raise KeyboardInterrupt
        shuffle(batches, number)

    return interrupted


def interrupt(epoch: int, folder: str = "cut", **changes) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MixedBatches, "shuffle", interrupt_at(epoch, MixedBatches.shuffle))
        run_training(folder, small_network(0.2), **changes)


@pytest.fixture(scope="module", autouse=True)
def _every_epoch():
    """A state is saved after each epoch, however long that takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
        yield


def states() -> list[Path]:
    return sorted(Path(".resume").glob("cut-*/epoch-*"))


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("changes", [{}, {"keep": "best"}, {"batch": 30, "micro_batch": 10, "mixup": ["beta"]}])
def test_a_training_killed_within_an_epoch_goes_on_at_its_step(monkeypatch, changes, threads):
    """With dropout, whose random numbers go on too, and a history as if nothing had been."""
    monkeypatch.setattr(training, "on_gpu", lambda: threads)  # batches are made ahead
    brief = {"epochs": 3, "save_minutes": 0, **changes}
    run_training("whole", small_network(0.2), **brief)
    for call in (3, 5, 6):
        left = [call]

        def kill(log, batch, logs=None, left=left, write=callbacks.EpochLog.on_train_batch_end):
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt
            write(log, batch, logs)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(callbacks.EpochLog, "on_train_batch_end", kill)
            run_training("cut", small_network(0.2), **brief)
    assert any(not state.name.endswith("-000000000") for state in states())
    run_training("cut", small_network(0.2), **brief)
    assert Path("cut/h.csv").read_bytes() == Path("whole/h.csv").read_bytes()
    assert Path("cut/m.weights.h5").read_bytes() == Path("whole/m.weights.h5").read_bytes()


def test_two_states_are_kept_each_with_its_history():
    interrupt(4, batch=60)
    assert [state.name for state in states()] == ["epoch-000003-000000000", "epoch-000004-000000000"]
    assert [len(pd.read_csv(state / "history.csv")) for state in states()] == [3, 4]
    assert not list(Path(".resume").rglob("unfinished*"))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def shorten(path: Path) -> None:
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def lengthen(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("3", "4", 1) + "\n")


def of_another_network(path: Path) -> None:
    x = keras.Input((6,))
    trainer_of(keras.Model(x, layers.Dense(3)(layers.Dense(7)(x))), keras.optimizers.Adam()).save_weights(path)


def of_another_optimizer(path: Path) -> None:
    trainer_of(small_network(0.2), keras.optimizers.SGD()).save_weights(path)


def of_nan(path: Path) -> None:
    network = small_network(0.2)
    network.layers[-1].bias.assign([0.0, np.nan, 0.0])
    (network if path.name == callbacks.BEST else trainer_of(network, adam(0.01))).save_weights(path)


def of_infinite_moments(path: Path) -> None:
    trainer = trainer_of(small_network(0.2), adam(0.01))
    moment = trainer.optimizer.variables[-1]
    moment.assign(np.full(moment.shape, np.inf, np.float32))
    trainer.save_weights(path)


DAMAGE = [
    *((file, harm) for file in (callbacks.STATE, callbacks.HISTORY, callbacks.BEST) for harm in (Path.unlink, cut_off)),
    *((file, harm) for file in (callbacks.STATE, callbacks.BEST) for harm in (of_another_network, of_nan)),
    (callbacks.STATE, of_another_optimizer), (callbacks.STATE, of_infinite_moments),
    (callbacks.STATE, lambda path: path.write_bytes(b"")),
    (callbacks.HISTORY, lambda path: path.write_bytes(b"\xff\0")), (callbacks.HISTORY, shorten),
    (callbacks.HISTORY, lengthen),
]  # fmt: skip


BRIEF = {"epochs": 4, "batch": 60, "keep": "best"}


@pytest.fixture(scope="module")
def whole_and_cut(tmp_path_factory) -> Path:
    """A folder with a training, and with the states after epochs 2 and 3 of another one of its kind."""
    folder = tmp_path_factory.mktemp("trainings")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_training("whole", small_network(0.2), **BRIEF)
        interrupt(3, **BRIEF)
    return folder


def warned(capfd) -> list[str]:
    return [line for line in capfd.readouterr().err.splitlines() if "warning" in line]


@pytest.mark.parametrize(("file", "harm"), DAMAGE)
def test_a_damaged_state_is_passed_over_for_the_one_before(file, harm, whole_and_cut, capfd):
    shutil.copytree(whole_and_cut, ".", dirs_exist_ok=True)
    harm(states()[-1] / file)
    run_training("cut", small_network(0.2), **BRIEF)
    (line,) = warned(capfd)
    assert re.search(r"epoch-000003-000000000: unusable \(.+\); the training resumes after epoch 2$", line)
    assert_same("cut", "whole")


@pytest.mark.parametrize("text", ["[]", "[1.0]", "not JSON", "[NaN, 1.0, 1.0, 1.0]"])
def test_a_state_within_an_epoch_has_the_metrics_so_far(text, capfd):
    brief = {"epochs": 2, "save_minutes": 0}
    run_training("whole", small_network(0.2), **brief)
    interrupt(1, **brief)
    last = states()[-1]
    shutil.rmtree(last)  # of the whole epoch
    (before,) = states()
    assert len(json.loads((before / callbacks.METRICS).read_text())) == 4
    (before / callbacks.METRICS).write_text(text)
    run_training("cut", small_network(0.2), **brief)
    (line,) = warned(capfd)
    assert "unusable" in line and line.endswith("the training starts again")
    assert_same("cut", "whole")


def test_without_a_usable_state_training_starts_again_and_warns_once(whole_and_cut, capfd):
    shutil.copytree(whole_and_cut, ".", dirs_exist_ok=True)
    of_nan(states()[-1] / callbacks.STATE)  # loads whole before it is refused
    cut_off(states()[0] / callbacks.STATE)
    interrupt(1, **BRIEF)
    (line,) = warned(capfd)
    assert "epoch-000003" in line and line.endswith("; the training starts again")
    assert [state.name for state in states()] == ["epoch-000001-000000000"]
    run_training("cut", small_network(0.2), **BRIEF)
    assert not warned(capfd)
    assert_same("cut", "whole")


def test_the_best_epoch_is_none_after_the_state_that_is_resumed(monkeypatch):
    losses = [3.0, 2.0, 4.0, 1.0, 5.0]
    validated = lambda log: {"val_accuracy": 0.5, "val_loss": losses[log.epoch - 1]}  # noqa: E731
    monkeypatch.setattr(callbacks.EpochLog, "validate", validated)
    brief = {**BRIEF, "epochs": 5}
    run_training("best", small_network(0.2), **brief)
    interrupt(4, **brief)
    shutil.rmtree(states()[-1])
    losses[3] = 6.0  # epoch 4, once the best, is so no more
    run_training("cut", small_network(0.2), **brief)
    run_training("whole", small_network(0.2), **brief)
    assert_same("cut", "whole")
    with pytest.raises(AssertionError):
        assert_same("cut", "best")


WRITES = [
    (keras.Model, "save_weights"), (pd.DataFrame, "to_csv"), (Path, "replace"), (Path, "rename"), (shutil, "rmtree"),
    (shutil, "copy"),
]  # fmt: skip


def killed_at_write(number: int) -> bool:
    """Train up to a write, after which, as after SIGKILL, nothing is tidied up. False if there were fewer writes."""
    left = [number]

    def failing(write):
        def written(*arguments, **keywords):
            left[0] -= 1
            if left[0] == 0 and write.__name__ in ("save_weights", "to_csv"):
                write(*arguments, **keywords)
                cut_off(Path(arguments[1]))
            if left[0] <= 0:
                raise KeyboardInterrupt
            return write(*arguments, **keywords)

        return written

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in WRITES:
            patch.setattr(owner, name, failing(getattr(owner, name)))
        try:
            run_training("cut", small_network(0.2), **{**BRIEF, "epochs": 2})
        except KeyboardInterrupt:
            return True
    return False


def test_a_kill_at_any_write_leaves_what_a_rerun_completes(capfd):
    run_training("whole", small_network(0.2), **{**BRIEF, "epochs": 2})
    number, saved = 0, False
    while killed_at_write(number := number + 1):
        saved, before = bool(states()) or Path("cut/m.weights.h5").exists(), saved
        assert saved or not before  # an epoch's work, once saved, is kept until the model is in place
        if Path("cut/m.weights.h5").exists():
            assert_same("cut", "whole")
        run_training("cut", small_network(0.2), **{**BRIEF, "epochs": 2})
        assert_same("cut", "whole")
        assert not warned(capfd)  # no state is in place before it is whole
        assert not list(Path(".resume").iterdir()) and not list(Path("cut").glob("unfinished*"))
        shutil.rmtree("cut")
    assert number > 10


def poisoned(epoch: int):
    """Have the batches of an epoch hold NaN."""
    get = MixedBatches.__getitem__

    def batch(batches, index):
        (samples, weights), targets = get(batches, index)
        return (samples * (np.nan if batches.epoch == epoch - 1 and index == 1 else 1), weights), targets

    return batch


def test_a_loss_that_is_not_finite_ends_training_and_leaves_the_last_good_state(monkeypatch, capfd):
    message = (
        "^cut/m.weights.h5: the training diverged: its loss is nan at epoch 4, step 2, with learning rate 0.01; lower"
    )
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=message):
            patch.setattr(MixedBatches, "__getitem__", poisoned(epoch=4))
            run_training("cut", small_network(0.2), batch=30)
        assert not Path("cut").exists() and [state.name[:12] for state in states()] == ["epoch-000002", "epoch-000003"]
    run_training("cut", small_network(0.2), batch=30)
    assert not warned(capfd)
    run_training("whole", small_network(0.2), batch=30)
    assert_same("cut", "whole")


def test_a_training_that_diverges_ends():
    with pytest.raises(InputError, match=r"its loss is (inf|nan) at epoch 1, step 2, with learning rate 1e\+30"):
        run_training("cut", small_network(), lr=1e30)
    assert not Path("cut").exists() and not states()


def test_a_loss_that_is_not_finite_before_any_step_is_of_the_inputs(monkeypatch):
    with pytest.raises(InputError, match="m.weights.h5: the loss of the initial weights is nan: an input or a weight"):
        run_training("cut", small_network(), load=lambda clips, seconds: np.nan * load(clips, seconds))


def test_a_validation_loss_that_is_not_finite_ends_training():
    def nan_in_validation(clips, seconds):
        return np.where(clips[:, None] < 6, load(clips, seconds), np.nan)

    with pytest.raises(InputError, match="its validation loss is nan after epoch 1, with learning rate 0.01; lower"):
        run_training("cut", small_network(), load=nan_in_validation)
    assert not Path("cut").exists() and not states()


def spoil(network: keras.Model) -> None:
    network.layers[-1].bias.assign([0.0, 0.0, np.inf])


def test_weights_that_are_not_finite_are_not_saved_as_a_state(monkeypatch):
    monkeypatch.setattr(callbacks.EpochLog, "validate", lambda log: spoil(log.network.layers[-1]) or {})
    with pytest.raises(InputError, match="its weights or moments are not finite after epoch 1, with learning rate"):
        run_training("cut", small_network())
    assert not Path("cut").exists() and not states()


def test_weights_that_are_not_finite_are_not_saved_as_the_model(monkeypatch):
    monkeypatch.setattr(training, "reestimate", lambda network, batches: spoil(network.layers[-1]))
    with pytest.raises(InputError, match="its weights are not finite after the last epoch, with learning rate"):
        run_training("cut", small_network(), epochs=2)
    assert not Path("cut").exists() and states()


STEP = """
import numpy as np
from scenes.learning.backend import keras
keras.config.set_floatx("float64")  # the first layers' gradients cancel down to float32's rounding
from scenes.learning.trainer import Trainer
from scenes.classifiers.vgg14 import Options, vgg14
generator = np.random.default_rng(0)
network = vgg14(10, Options([8, 16, 32, 64], 64, [0.0] * 4, 0.0))
for variable in network.trainable_variables:
    scale = np.sqrt(2 / np.prod(variable.shape[:-1])) if len(variable.shape) > 1 else 0.1
    variable.assign(generator.standard_normal(variable.shape) * scale + (len(variable.shape) == 1))
samples = generator.standard_normal((4, 128, 128, 6)).astype("float64")
targets = generator.dirichlet(np.ones(10), 4).astype("float64")
before = [np.array(keras.ops.convert_to_numpy(v)) for v in network.trainable_variables]
front = keras.Model(network.input, keras.layers.Identity()(network.input))
pairs = samples.reshape(2, 2, 128, 128, 6), np.tile(np.float32([1, 0]), (2, 1))  # unmixed
loss = Trainer(front, network, 2, keras.optimizers.SGD(1.0), 1e-4).train_on_batch(pairs, targets.reshape(2, 2, 10))[0]
after = [keras.ops.convert_to_numpy(v) for v in network.trainable_variables]
np.savez(f"{keras.backend.backend()}.npz", *[b - a for b, a in zip(before, after)], loss=loss)
"""


def python(code: str, backend: str) -> None:
    """Run code in a process of its own, where Keras has this backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT / "stages")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@needs_tensorflow
def test_one_step_is_the_same_under_tensorflow_and_torch():
    python(STEP, "tensorflow")
    try:
        exec(STEP, {})
    finally:
        keras.config.set_floatx("float32")
    steps = {backend: np.load(f"{backend}.npz") for backend in ("tensorflow", "torch")}
    for name, expected in steps["tensorflow"].items():
        difference = np.linalg.norm(steps["torch"][name] - expected)
        # The shift of a batch norm before another has a gradient of 0 but for L2's, 3e-4, and rounding.
        assert difference <= 1e-4 * max(np.linalg.norm(expected), 0.01), name


# As if the two halves of a processor were GPUs. TensorFlow is set up by the backend, before it is asked for devices.
TWO_GPUS = """
import sys
from pathlib import Path
import numpy as np
import pandas as pd
from scenes.learning.backend import keras
import tensorflow as tf
import train_embedding
from scenes.learning.gpus import replicas
from scenes.learning.front import as_stored
from scenes.learning.trainer import Trainer
from scenes.learning.training import Recipe, prepare, train
from scenes.stage.cli import run

[processor] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
halves = tf.config.list_logical_devices("CPU")
strategy = tf.distribute.MirroredStrategy([half.name for half in halves])
tf.distribute.MirroredStrategy = lambda: strategy
compute_loss = Trainer.compute_loss
options = "--epochs 3 --batch 28 --lr 0.01 --l2 0.1 --dropout 0 --widths 16 --widths 16"
sys.argv = ["train_embedding.py", "audio-embedding", "split.csv", "classes.csv", "embedding.npy", "pieces.weights.h5",
            "pieces.csv", *options.split(), "--micro-batch", "12"]
run(train_embedding.main)
assert replicas() == 1, "in pieces, one GPU trains"
for number in (1, 2):
    tf.config.list_logical_devices = lambda kind: halves[:number]
    def step(*arguments, **keywords):
        assert replicas() == number
        return compute_loss(*arguments, **keywords)
    Trainer.compute_loss = step
    sys.argv = ["train_embedding.py", "audio-embedding", "split.csv", "classes.csv", "embedding.npy",
                f"{number}.weights.h5", f"{number}.csv", *options.split()]
    run(train_embedding.main)

# One step on all samples at once, half of them on each.
recipe = Recipe(1, 80, None, 10, 0.0, 0.0, ["original"], 0.4)
prepare(recipe)
inputs = keras.Input((6,))
norm, dropout = keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dropout(0.5)
network = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(dropout(norm(inputs))))
samples = np.random.default_rng(0).standard_normal((8, 10, 6)).astype("float32")
split = pd.DataFrame({"scene": list("abcabcab"), "fold": "train", "audio": "x"})
Path("input").touch()
classes = pd.DataFrame({"class": list("abc")})
train(network, as_stored(6), lambda clips, seconds: samples[clips, seconds], split, classes, ["audio"],
      [Path("input")], Path("m.weights.h5"), Path("h.csv"), recipe)
masks = tf.function(lambda: tf.distribute.get_strategy().run(lambda: dropout(tf.ones((4, 50)), training=True)))()
np.savez("copies.npz", *masks.values, means=[copy.numpy() for copy in norm.moving_mean.value.values],
         expected=samples.mean(axis=(0, 1)) / 2)
"""


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory) -> Path:
    """What one process leaves that trains on one GPU, on two, and takes a step on two."""
    folder = tmp_path_factory.mktemp("gpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = [f"c{i},{'abc'[i % 3]},x,{i},{'train' if i < 9 else 'validation'},a.wav," for i in range(15)]
        Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
        Path("classes.csv").write_text("class,meta_class\na,x\nb,x\nc,y\n")
        np.save("embedding.npy", np.random.default_rng(0).standard_normal((15, 10, 16)).astype(np.float32))
        python(TWO_GPUS, "tensorflow")
    return folder


@needs_tensorflow
def test_two_gpus_train_as_one_under_tensorflow(two_gpus):
    one, two = (pd.read_csv(two_gpus / f"{number}.csv") for number in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-4)
    np.testing.assert_allclose(pd.read_csv(two_gpus / "pieces.csv"), one, rtol=1e-4)
    assert one["loss"].iloc[-1] < 0.9 * one["loss"].iloc[0]


@needs_tensorflow
def test_two_gpus_share_batch_norm_and_draw_dropout_apart(two_gpus):
    copies = np.load(two_gpus / "copies.npz")
    np.testing.assert_allclose(copies["means"], [copies["expected"]] * 2, rtol=1e-4, atol=1e-6)
    assert (copies["arr_0"] != copies["arr_1"]).any()
