"""The network of both modalities: its inputs, its start from two networks of one, and what it makes of one alone."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import predict
import pytest
import train_audio_visual
from hypothesis import given
from hypothesis import strategies as st

from scenes import training
from scenes.classifiers.audio_visual import MODALITIES, audio_visual, loader
from scenes.classifiers.image_networks import SCENE, classifier
from scenes.classifiers.mlp import head
from scenes.classifiers.patches import patches
from scenes.classifiers.vgg14 import FEATURES, vgg14
from scenes.learning.backend import keras
from scenes.learning.batches import Batches, MixedBatches
from scenes.learning.inference import forward, predict as outputs
from scenes.learning.mixup import PARTS, mixup
from scenes.stage.errors import InputError
from scenes.training import Recipe, train

layers = keras.layers
CLASSES = ["airport", "bus", "park"]
VGG14 = {"widths": [2, 2, 2, 2], "dense": 4, "dropout": [0.0] * 4, "dense_dropout": 0.0, "momentum": 0.9}


# Mixup


@given(parts=st.lists(st.sampled_from(PARTS), min_size=1, unique=True), size=st.integers(2, 7), seed=st.integers(0, 99))
def test_both_modalities_are_mixed_as_each_would_be_alone(parts, size, seed):
    generator = np.random.default_rng(seed)
    samples = generator.normal(size=(size, 4, 3)).astype(np.float32), generator.normal(size=(size, 5))
    labels = np.eye(3, dtype=np.float32)[generator.integers(0, 3, size)]
    mixed, mixed_labels = mixup(samples, labels, parts, 0.4, np.random.default_rng(seed))
    assert isinstance(mixed, tuple)
    for array, found in zip(samples, mixed, strict=True):
        alone, its_labels = mixup(array, labels, parts, 0.4, np.random.default_rng(seed))
        np.testing.assert_array_equal(found, alone)
        np.testing.assert_array_equal(mixed_labels, its_labels)


def test_a_batch_has_the_same_pairs_and_lambdas_of_both():
    """Where a picture is three times the sound of its second, so is every mixture of them."""
    values = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    load = loader(
        lambda clip, second: np.repeat(values[clip, second][:, None], 4, axis=1),
        lambda clip, second: 3 * np.tile(values[clip, second][:, None, None], (1, 2, 2)),
    )
    targets = np.eye(6, dtype=np.float32)
    batches = MixedBatches(load, np.arange(6), targets, 20, 10, 0, parts=list(PARTS), alpha=0.4)
    for number in range(len(batches)):
        (sound, picture), mixed = batches[number]
        assert sound.shape == (60, 4) and picture.shape == (60, 2, 2) and mixed.shape == (60, 6)
        np.testing.assert_allclose(picture[:, 0, 0], 3 * sound[:, 0], rtol=1e-5, atol=1e-6)
    assert len(np.unique(sound[:, 0])) > 40  # mixtures, not copies


# Law: without one modality


def small(name: str) -> keras.Model:
    """Stands where VGG14 or a Keras application does, and takes a hundredth of its time."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(8, 3, activation="relu")(x))
    x = layers.GlobalAveragePooling2D(name=FEATURES if name == "audio" else None)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name=None if name == "audio" else SCENE)(x))


def joint_network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return audio_visual(small("audio"), small("video"), 3, [16], 0.0)


# Sound tells the first class from the others, pictures the second: alone either leaves two classes open.
HEARD, SEEN = np.array([0, 1, 1]), np.array([1, 0, 1])
OPEN = 2 / 3 * np.log(2)
LABELS = np.arange(24) % 3
SPLIT = pd.DataFrame(
    {"scene": np.array(CLASSES)[LABELS], "fold": ["train"] * 15 + ["validation"] * 9, "audio": "a", "video": "v"}
)
TABLE = pd.DataFrame({"class": CLASSES})


def made_up(group: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.3, (len(LABELS), 10, 8, 8, 3))
    return (1 + group[LABELS].reshape(-1, 1, 1, 1, 1) + noise).astype(np.float32)


DATA = {"audio": made_up(HEARD, 0), "video": made_up(SEEN, 1)}


def of(data: np.ndarray):
    return lambda clips, seconds: data[clips, seconds]


def trained(network: keras.Model, load, modality, name: str, epochs: int = 40) -> float:
    """The network's loss on the validation clips after a training."""
    recipe = Recipe(epochs, 30, 10, 0.01, 1e-4, ["beta"], 0.4, True, 0)
    Path("input").touch()
    model, history = Path(f"{name}.weights.h5"), Path(f"{name}.csv")
    train(network, load, SPLIT, TABLE, modality, [Path("input")], model, history, recipe)
    targets = np.eye(3, dtype=np.float32)[LABELS]
    batches = Batches(load, np.flatnonzero(SPLIT["fold"] == "validation"), targets, 90)
    return float(-np.log(outputs(network, batches, name)[targets[batches.pairs[0]] == 1]).mean())


@pytest.mark.parametrize("missing", MODALITIES)
def test_trained_with_one_modality_zeroed_it_does_not_depend_on_it(missing):
    zeroed = {**DATA, missing: np.zeros_like(DATA[missing])}
    joint, clips, seconds = joint_network(), np.arange(24), np.full(24, 5)

    def dependence() -> float:
        both, one = (forward(joint, loader(of(data["audio"]), of(data["video"]))(clips, seconds)) for data in (DATA, zeroed))
        return float(np.abs(both - one).max())

    before = dependence()
    loss = trained(joint, loader(of(zeroed["audio"]), of(zeroed["video"])), MODALITIES, "joint")
    print(missing, before, dependence(), loss)

    present = "video" if missing == "audio" else "audio"
    keras.utils.set_random_seed(0)
    single = small(present)
    features = single.layers[-1].input
    single = keras.Model(single.input, head(features, 3, [16], 0.0))
    alone = trained(single, of(DATA[present]), present, "single")
    print(alone, OPEN)
    assert 0


def test_with_both_modalities_it_knows_what_neither_tells_alone():
    loss = trained(joint_network(), loader(of(DATA["audio"]), of(DATA["video"])), MODALITIES, "joint")
    print(loss)
    assert loss < 0.5 * OPEN
