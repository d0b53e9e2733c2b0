"""The DCASE baseline's four systems: their sizes, their z-score, their training and their scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import predict
import pytest
import train_baseline
from scipy.special import log_softmax

from scenes.classifiers.baseline import HIDDEN, MODALITIES, build, classifier, moments, official, set_moments
from scenes.evaluation import baseline_scores
from scenes.evaluation.metrics import macro_log_loss
from scenes.learning.backend import keras
from scenes.stage.errors import InputError

FRAMES = 6
CLASSES = ["airport", "bus", "park"]


def trainable(net: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in net.trainable_variables)


@pytest.mark.parametrize(
    ("system", "parameters"), [("audio", 338_634), ("visual", 338_634), ("early", 600_778), ("official", 34_186)]
)
def test_the_systems_have_the_published_sizes(system, parameters):
    net = build(system, 512, 10)
    assert trainable(net) == parameters
    assert net.input_shape == (None, 512 * len(MODALITIES[system])) and net.output_shape == (None, 10)


def test_the_layers_of_a_net():
    net = classifier(512, 10, "audio")
    kinds = [type(layer).__name__ for layer in net.layers[1:]]
    hidden = ["Dense", "BatchNormalization", "ReLU", "Dropout"]
    assert kinds == ["BatchNormalization", *hidden * 3, "Dense"]
    dense = [layer for layer in net.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [512, 128, 64, 10]
    assert [layer.activation.__name__ for layer in dense] == ["linear"] * 3 + ["softmax"]
    assert {layer.rate for layer in net.layers if isinstance(layer, keras.layers.Dropout)} == {0.2}


def test_the_z_score_is_of_the_frames_it_is_given_and_stays_in_training():
    generator = np.random.default_rng(0)
    embeddings = [generator.normal(3, 2, (4, FRAMES, 512)).astype(np.float32) for _ in range(2)]
    embeddings[0][..., 7] = 5.0  # never varies
    mean, variance = moments(embeddings, np.array([0, 2]))
    frames = np.concatenate(embeddings, axis=-1)[[0, 2]].reshape(-1, 1024)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, frames.var(axis=0), rtol=1e-4, atol=1e-9)
    net = classifier(1024, 10, "early")
    set_moments(net, mean, variance)
    for training in (False, True):
        scored = keras.ops.convert_to_numpy(net.get_layer("z_score")(frames, training=training))
        np.testing.assert_allclose(scored.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(np.delete(scored.std(axis=0), 7), 1, atol=1e-4)
    assert not scored[:, 7].any()


def test_the_official_fusion_joins_the_second_dense_layers_linearly():
    keras.utils.set_random_seed(0)
    nets = [classifier(512, 10, modality) for modality in ("audio", "visual")]
    joined = official(*nets, 10)
    embeddings = np.random.default_rng(0).normal(size=(5, 1024)).astype(np.float32)
    features = []
    for net, part in zip(nets, np.split(embeddings, 2, axis=1), strict=True):
        weights = {layer.name: layer.get_weights() for layer in net.layers}
        norm = net.layers[3].get_weights()  # gamma, beta, mean, variance after the first dense layer
        first = (part - weights["z_score"][0]) / np.sqrt(weights["z_score"][1])
        first = first @ weights["linear_1"][0] + weights["linear_1"][1]
        first = np.maximum((first - norm[2]) / np.sqrt(norm[3] + 1e-5) * norm[0] + norm[1], 0)
        features.append(first @ weights[HIDDEN][0] + weights[HIDDEN][1])
    (one, one_bias), (two, two_bias) = (layer.get_weights() for layer in joined.layers[-2:])
    logits = (np.concatenate(features, axis=1) @ one + one_bias) @ two + two_bias
    for training in (False, True):  # no dropout in what is frozen
        found = keras.ops.convert_to_numpy(joined(embeddings, training=training))
        np.testing.assert_allclose(np.log(found), log_softmax(logits, axis=1), atol=1e-4)


def test_ten_frames_stand_for_the_seconds():
    frames = np.arange(96.0)[None, :, None] * np.ones((2, 1, 3))
    assert list(baseline_scores.seconds(frames)[0, :, 0]) == [0, 9, 19, 28, 38, 48, 57, 67, 76, 86]
    assert list(baseline_scores.seconds(frames[:, :11])[1, :, 2]) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_clip_is_the_sum_of_its_frames_log_softmax():
    logits = np.random.default_rng(0).normal(0, 4, (5, 96, 10))
    frames = np.exp(log_softmax(logits, axis=-1))
    frames[3] = np.nan
    found = baseline_scores.clips(frames.astype(np.float32))
    total = log_softmax(logits, axis=-1).sum(axis=1)
    kept = [0, 1, 2, 4]
    assert (found[kept].argmax(axis=1) == total[kept].argmax(axis=1)).all() and np.isnan(found[3]).all()
    np.testing.assert_allclose(found[kept], np.exp(log_softmax(total[kept], axis=1)), atol=1e-4)


@pytest.fixture
def data() -> pd.DataFrame:
    """Clips at 4 train, 1 validation and 2 evaluate locations a class; the last clip has no video."""
    rows = [(f"{scene}-lyon-{10 * number + place}-0", scene, "lyon", str(10 * number + place), fold, "a.wav", "v.mp4")
            for number, scene in enumerate(CLASSES)
            for place, fold in enumerate(["train"] * 4 + ["validation"] + ["evaluate"] * 2)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["clip", "scene", "city", "location", "fold", "audio", "video"])
    table.loc[len(table) - 1, "video"] = ""
    table.to_csv("split.csv", index=False)
    meta = pd.DataFrame({"class": CLASSES, "meta_class": ["indoor", "transportation", "outdoor"]})
    meta.to_csv("classes.csv", index=False)
    centres = np.random.default_rng(0).normal(0, 1, (2, len(CLASSES), 512))
    number = pd.Index(CLASSES).get_indexer(table["scene"])
    for modality, centre in zip(("audio", "visual"), centres, strict=True):
        noise = np.random.default_rng(1).normal(0, 3, (len(table), FRAMES, 512))
        np.save(f"{modality}.npy", (centre[number][:, None] + noise).astype(np.float32))
    return table


def train(system: str, epochs: int = 4, seed: int = 0, split: str = "split.csv", **options) -> None:
    train_baseline.main(
        system, Path(split), Path("classes.csv"), "{modality}.npy", "{modality}.weights.h5",
        Path(f"{system}.weights.h5"), Path(f"{system}.csv"),
        **{"validation": 0.25, "epochs": epochs, "batch": 8, "lr": 1e-3, "seed": seed, **options},
    )  # fmt: skip


def predicted(system: str) -> np.ndarray:
    predict.baseline(
        system, Path("split.csv"), Path("classes.csv"), "{modality}.npy", Path(f"{system}.weights.h5"),
        Path(f"{system}.predictions.npy"), Path(f"{system}.confusion.csv"), Path(f"{system}.json"),
    )  # fmt: skip
    return np.load(f"{system}.predictions.npy")


def test_the_four_systems_learn_and_are_scored_as_published(data):
    outside = data[data["fold"] != "train"]
    evaluated = (outside["fold"] == "evaluate").to_numpy()
    labels = pd.Index(CLASSES).get_indexer(outside["scene"])[evaluated]
    for system, modalities in MODALITIES.items():
        train(system)
        frames = predicted(system)
        assert frames.shape == (len(outside), FRAMES, 3) and frames.dtype == np.float32
        assert np.isnan(frames[-1]).all() == ("visual" in modalities) and not np.isnan(frames[:-1]).any()
        scored, actual = frames[evaluated], labels
        if "visual" in modalities:
            scored, actual = scored[:-1], labels[:-1]
        metrics = json.loads(Path(f"{system}.json").read_text())
        sums = np.log(scored.astype(np.float64)).sum(axis=1)
        chosen = scored[:, np.linspace(0, FRAMES, 10, endpoint=False).astype(int)]
        repeated = np.repeat(actual, 10)
        assert metrics["accuracy"] == (sums.argmax(axis=1) == actual).mean() > 0.8
        assert metrics["second_accuracy"] == pytest.approx((chosen.reshape(-1, 3).argmax(axis=1) == repeated).mean())
        assert metrics["second_log_loss"] == pytest.approx(macro_log_loss(repeated, chosen.reshape(-1, 3)))
        assert metrics["log_loss"] == pytest.approx(macro_log_loss(actual, np.exp(log_softmax(sums, axis=1))))
        assert metrics["clips"] == len(actual)
        assert len(pd.read_csv(f"{system}.confusion.csv")) == len(actual)
    # What the official system took from the two others is as they left it.
    frozen = build("official", 512, 3)
    frozen.load_weights("official.weights.h5")
    alone = classifier(512, 3, "audio")
    alone.load_weights("audio.weights.h5")
    inside = frozen.get_layer("audio_features").get_layer(HIDDEN).get_weights()
    for found, expected in zip(inside, alone.get_layer(HIDDEN).get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_epoch_of_lowest_validation_loss_is_kept(data):
    """The weights written are those of the best epoch: a training that ends there writes the same."""
    train("audio", epochs=5, lr=0.05)
    history, kept = pd.read_csv("audio.csv"), predicted("audio")
    best = int(history["val_loss"].idxmin()) + 1
    assert best < 5, "the last epoch is the best: this test shows nothing"
    train("audio", epochs=best, lr=0.05)
    np.testing.assert_array_equal(predicted("audio"), kept)
    pd.testing.assert_frame_equal(pd.read_csv("audio.csv"), history[:best], atol=1e-5)


def test_its_validation_is_of_whole_train_locations(data, monkeypatch):
    seen = {}
    monkeypatch.setattr(train_baseline, "train", lambda *arguments, **_: seen.update(split=arguments[3]))
    chosen = {}
    for seed, split_seed in ((0, 0), (0, 1), (0, 2), (1, 0)):
        train("early", seed=seed, split_seed=split_seed)
        held = seen["split"].query("fold == 'validation'")
        assert (data.loc[held.index, "fold"] == "train").all()
        assert list(held.groupby("scene")["location"].nunique()) == [1, 1, 1]
        left = seen["split"].query("fold == 'train'")
        assert not set(held["location"]) & set(left["location"]) and len(left) + len(held) == 12
        chosen[seed, split_seed] = set(held["location"])
    # Trainings with several seeds hold out the same.
    assert chosen[1, 0] == chosen[0, 0] and len(set(map(frozenset, chosen.values()))) > 1


def test_a_fault_ends_in_one_line(data):
    with pytest.raises(InputError, match="audio.weights.h5: no clip is left for validation"):
        train("audio", validation=0.0)
    np.save("visual.npy", np.zeros((len(data), FRAMES + 1, 512), np.float32))
    with pytest.raises(InputError, match=r"visual.npy: shape \(21, 7, 512\), expected \[clips, T, D\], equal"):
        train("early")
    np.save("visual.npy", np.zeros((3, FRAMES, 512), np.float32))
    with pytest.raises(InputError, match="visual.npy: 3 rows for 21 clips"):
        train("visual")
    train("audio", epochs=1)
    Path("early.weights.h5").write_bytes(Path("audio.weights.h5").read_bytes())
    np.save("visual.npy", np.zeros((len(data), FRAMES, 512), np.float32))
    with pytest.raises(InputError, match="early.weights.h5: truncated, or of other parameters"):
        predicted("early")
    assert not Path("early.predictions.npy").exists()
    data.assign(video="").to_csv("sound.csv", index=False)
    with pytest.raises(InputError, match="no train clip has audio and video"):
        train("early", split="sound.csv")
