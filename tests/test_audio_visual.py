"""The network of both modalities: its inputs, its start from two networks of one, and what it makes of one alone."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import predict
import pytest
import train_audio_visual
from network_inputs import made, patches

from scenes.classifiers import vgg14 as vgg
from scenes.classifiers import visual_image
from scenes.classifiers.audio_visual import Options, audio_visual
from scenes.classifiers.image_networks import SCENE, classifier
from scenes.classifiers.mlp import head
from scenes.classifiers.vgg14 import FEATURES, vgg14
from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.inference import forward
from scenes.learning.inference import predict as outputs
from scenes.learning.mixup import PARTS, MixedBatches, mix
from scenes.learning.training import Recipe, train
from scenes.stage.errors import InputError
from scenes.systems import FAMILIES

layers = keras.layers
CLASSES = ["airport", "bus", "park"]
VGG14 = vgg.Options([2, 2, 2, 2], 4, [0.0] * 4, 0.0)
MODALITIES = FAMILIES["audio_visual"].media


# Mixup


def test_a_batch_has_the_same_pairs_and_lambdas_of_both():
    """Where a picture is three times the sound of its second, so is every mixture of them."""
    values = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    load = both(
        lambda clip, second: np.repeat(values[clip, second][:, None], 4, axis=1),
        lambda clip, second: 3 * np.tile(values[clip, second][:, None, None], (1, 2, 2)),
    )
    targets = np.eye(6, dtype=np.float32)
    batches = MixedBatches(load, np.arange(6), targets, 20, 10, 0, parts=list(PARTS), alpha=0.4)
    for number in range(len(batches)):
        ((sound, picture), weights), labels = batches[number]
        assert sound.shape == (10, 2, 4) and picture.shape == (10, 2, 2, 2) and labels.shape == (10, 6, 6)
        sound, picture = mix(sound, weights), mix(picture, weights)
        np.testing.assert_allclose(picture[..., 0, 0], 3 * sound[..., 0], rtol=1e-5, atol=1e-6)
    assert len(np.unique(sound[..., 0])) > 40  # mixtures, not copies


# Law: without one modality


def small(name: str) -> keras.Model:
    """Stands where VGG14 or a Keras application does, and takes a hundredth of its time."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(8, 3, activation="relu")(x))
    x = layers.GlobalAveragePooling2D(name=FEATURES if name == "audio" else None)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name=None if name == "audio" else SCENE)(x))


def joint_network(dropout: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    return audio_visual(small("audio"), small("video"), 3, [16], dropout)


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


def both(first, second):
    return lambda clips, seconds: (first(clips, seconds), second(clips, seconds))


def of(data: np.ndarray):
    return lambda clips, seconds: data[clips, seconds]


def as_they_are(network: keras.Model) -> keras.Model:
    """No preprocessing."""
    inputs = keras.tree.map_structure(lambda each: keras.Input(each.shape[1:]), network.input)
    return keras.Model(inputs, keras.tree.map_structure(layers.Identity(), inputs))


def trained(network: keras.Model, load, media, name: str, epochs: int = 20) -> float:
    """The network's loss on the validation clips after a training."""
    recipe = Recipe(epochs, 30, None, 10, 0.02, 1e-4, ["beta"], 0.4, True, 0)
    Path("input").touch()
    model, history = Path(f"{name}.weights.h5"), Path(f"{name}.csv")
    train(network, as_they_are(network), load, SPLIT, TABLE, media, [Path("input")], model, history, recipe)
    targets = np.eye(3, dtype=np.float32)[LABELS]
    batches = Batches(load, np.flatnonzero(SPLIT["fold"] == "validation"), targets, 90)
    return float(-np.log(outputs(network, batches, name)[targets[batches.pairs[0]] == 1]).mean())


@pytest.mark.parametrize("missing", MODALITIES)
def test_trained_with_one_modality_zeroed_it_does_not_depend_on_it(missing):
    """Only the L2 of Eq. 1 acts on what leads from there, and takes it to zero."""
    (present,) = set(MODALITIES) - {missing}
    zeroed = {**DATA, missing: np.zeros_like(DATA[missing])}
    joint = joint_network()

    def dependence() -> float:
        """How much probabilities change at most where the modality is there after all."""
        both, one = (forward(joint, (data["audio"][:, 5], data["video"][:, 5])) for data in (DATA, zeroed))
        return float(np.abs(both - one).max())

    assert dependence() > 0.05
    loss = trained(joint, both(of(zeroed["audio"]), of(zeroed["video"])), MODALITIES, "joint")
    assert dependence() < 1e-3
    keras.utils.set_random_seed(0)
    single = small(present)
    single = keras.Model(single.input, head(single.layers[-1].input, 3, [16], 0.0))
    alone = trained(single, of(DATA[present]), [present], "single")
    assert loss == pytest.approx(alone, rel=0.1) and OPEN - 0.02 < loss < 1.2 * OPEN


def test_with_both_modalities_it_knows_what_neither_tells_alone():
    loss = trained(joint_network(), both(of(DATA["audio"]), of(DATA["video"])), MODALITIES, "joint")
    assert loss < OPEN / 3


def test_an_interrupted_training_goes_on_to_the_same_weights(monkeypatch):
    """With dropout in the head, whose random numbers go on too."""
    load, shuffle = both(of(DATA["audio"]), of(DATA["video"])), MixedBatches.shuffle

    def interrupt(batches, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        shuffle(batches, epoch)

    trained(joint_network(0.3), load, MODALITIES, "whole", 3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MixedBatches, "shuffle", interrupt)
        trained(joint_network(0.3), load, MODALITIES, "cut", 3)
    assert not Path("cut.weights.h5").exists()
    trained(joint_network(0.3), load, MODALITIES, "cut", 3)
    assert list(pd.read_csv("cut.csv")["epoch"]) == [1, 2, 3]
    whole, cut = joint_network(), joint_network()
    whole.load_weights("whole.weights.h5")
    cut.load_weights("cut.weights.h5")
    for expected, found in zip(whole.get_weights(), cut.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


# The scripts


OPTIONS = Options("MobileNetV2", 32, **asdict(VGG14), mlp_widths=[8], mlp_dropout=0.0)
RECIPE = Recipe(epochs=1, batch=4, seconds=1, mixup=["beta"], reestimate_batch_norm=True)


@pytest.fixture
def data() -> pd.DataFrame:
    """Six train and five evaluate clips, of which the last but one has no sound and the last no picture."""
    rows = [(f"{CLASSES[i % 3]}-lyon-{i}-0", CLASSES[i % 3], "lyon", str(i), "train" if i < 6 else "evaluate",
             "" if i == 9 else "a.wav", "" if i == 10 else "v.mp4") for i in range(11)]  # fmt: skip
    split = pd.DataFrame(rows, columns=["clip", "scene", "city", "location", "fold", "audio", "video"])
    split.to_csv("split.csv", index=False)
    pd.DataFrame({"class": CLASSES, "meta_class": ["in", "on", "out"]}).to_csv("classes.csv", index=False)
    generator = np.random.default_rng(0)
    np.save("mel.npy", generator.normal(size=(11, 2, 16, 704)).astype(np.float16))
    np.save("frames.npy", generator.integers(0, 256, (11, 10, 32, 32, 3), np.uint8))
    return split


def train_joint(start: str = "single", **options) -> None:
    train_audio_visual.main(
        *map(Path, ("split.csv", "classes.csv", "mel.npy", "frames.npy", "vgg14.weights.h5", "image.weights.h5")),
        Path("joint.weights.h5"), Path("joint.csv"), replace(OPTIONS, **options), RECIPE, start, pretrained=False,
    )  # fmt: skip


def predict_joint(**options) -> np.ndarray:
    command = predict.classifier(FAMILIES["audio_visual"])
    names = "joint.weights.h5", "joint.npy", "confusion.csv", "joint.json"
    features = [Path("mel.npy"), Path("frames.npy")]
    command(Path("split.csv"), Path("classes.csv"), features, *map(Path, names), replace(OPTIONS, **options))
    return np.load("joint.npy")


def save_singles() -> list[keras.Model]:
    """Networks of one modality whose batch norm is not as it starts either."""
    singles = [vgg14(3, VGG14, (16, 128)), classifier("MobileNetV2", 32, False, 3)]
    generator = np.random.default_rng(1)
    for network, name in zip(singles, ("vgg14", "image"), strict=True):
        for variable in network.variables:
            if "seed" not in variable.name:
                variable.assign(variable + 0.02 * np.abs(generator.normal(size=variable.shape)))
        network.save_weights(f"{name}.weights.h5")
    return singles


def test_it_starts_with_the_features_of_the_two_trained_alone(data, monkeypatch):
    started = {}
    keep = lambda network, front, load, *_: started.update(network=network, front=front, load=load)  # noqa: E731
    monkeypatch.setattr(train_audio_visual, "train", keep)
    vgg, image = save_singles()
    for start, same in (("single", True), ("scratch", False)):
        train_joint(start=start)
        joint = started["network"]
        sound, picture = made(started["front"], started["load"](np.array([3, 7]), np.array([0, 9])))
        np.testing.assert_array_equal(sound, patches(np.load("mel.npy"), np.array([3, 7]), np.array([0, 9])))
        np.testing.assert_allclose(picture, np.load("frames.npy")[[3, 7], [0, 9]] / 127.5 - 1, atol=1e-6)
        both = next(layer for layer in joint.layers if isinstance(layer, layers.Concatenate))
        found = keras.Model(joint.input, both.output)((sound, picture), training=False)
        alone = [
            keras.Model(vgg.input, vgg.get_layer(FEATURES).output)(sound, training=False),
            keras.Model(image.input, image.get_layer(SCENE).input)(picture, training=False),
        ]
        expected = np.concatenate([keras.ops.convert_to_numpy(features) for features in alone], axis=1)
        assert (np.abs(keras.ops.convert_to_numpy(found) - expected).max() < 1e-5 * np.abs(expected).max()) == same


def test_frames_smaller_than_the_networks_size_are_told(data, monkeypatch, capsys):
    monkeypatch.setattr(train_audio_visual, "train", lambda *_: None)
    train_joint(start="scratch", size=40)
    said = "frames.size: 32 is smaller than MobileNetV2's size 40: frames are enlarged"
    assert capsys.readouterr().err == f"warning: {said}\n"


@pytest.fixture
def quick(data, monkeypatch) -> dict:
    """VGG14 and, for a Keras application, the small network."""
    for module in (train_audio_visual, visual_image.image_networks):
        monkeypatch.setattr(module, "classifier", lambda *_: small("video"))
    np.save("frames.npy", np.load("frames.npy")[:, :, :8, :8])
    vgg14(3, VGG14, (16, 128)).save_weights("vgg14.weights.h5")
    small("video").save_weights("image.weights.h5")
    return {"size": 8}


def test_from_two_networks_to_predictions(quick):
    train_joint(**quick)
    assert list(pd.read_csv("joint.csv")["epoch"]) == [1] and not list(Path(".resume").iterdir())
    found = predict_joint(**quick)
    assert found.shape == (5, 10, 3) and found.dtype == np.float32
    # A clip that lacks either modality has no prediction, and is not scored.
    assert np.isnan(found[3:]).all() and not np.isnan(found[:3]).any()
    np.testing.assert_allclose(found[:3].sum(axis=-1), 1, rtol=1e-5)
    assert json.loads(Path("joint.json").read_text())["clips"] == len(pd.read_csv("confusion.csv")) == 3
    with pytest.raises(InputError, match="^joint.weights.h5: truncated, or of other parameters"):
        predict_joint(mlp_widths=[9], **quick)


def test_a_fault_ends_in_one_line(quick, data):
    with pytest.raises(InputError, match="^vgg14.weights.h5: truncated, or of other parameters"):
        train_joint(widths=[2, 2, 2, 3], **quick)
    Path("image.weights.h5").write_bytes(Path("vgg14.weights.h5").read_bytes())
    with pytest.raises(InputError, match="^image.weights.h5: truncated, or of other parameters"):
        train_joint(**quick)
    Path("vgg14.weights.h5").unlink()
    with pytest.raises(FileNotFoundError) as missing:  # which the command line says in one line
        train_joint(**quick)
    assert missing.value.filename == "vgg14.weights.h5"
    for name, rows in (("frames", 3), ("mel", 12)):
        np.save(f"{name}.npy", np.zeros((rows, *np.load(f"{name}.npy").shape[1:]), np.float16))
        with pytest.raises(InputError, match=f"^{name}.npy: {rows} rows for 11 clips"):
            train_joint(**quick)
        with pytest.raises(InputError, match=f"^{name}.npy: {rows} rows for 11 clips"):
            predict_joint(**quick)
        np.save(f"{name}.npy", np.zeros((11, *np.load(f"{name}.npy").shape[1:]), np.float16))
    data.assign(video="").to_csv("split.csv", index=False)
    with pytest.raises(InputError, match="no train clip has audio and video"):
        train_joint(start="scratch", **quick)
    assert not Path("joint.weights.h5").exists() and not Path("joint.npy").exists()
