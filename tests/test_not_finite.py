"""Features, weights and predictions that are not finite numbers are refused by name; training: see test_training."""

from pathlib import Path

import made_up
import numpy as np
import pandas as pd
import pytest
from conftest import run

from scenes.app.members import Member, judge
from scenes.classifiers.image_networks import extractor
from scenes.classifiers.mlp import mlp
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.dataset import shards
from scenes.dataset.tables import SECONDS
from scenes.learning.backend import keras
from scenes.learning.inference import load_weights
from scenes.media.stream import Window
from scenes.stage.errors import InputError


def spoil(network: keras.Model, value: float = np.nan) -> keras.Model:
    """Make the last number of a network's weights another one."""
    weights = network.get_weights()
    weights[-1].flat[-1] = value
    network.set_weights(weights)
    return network


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_saved_model_with_such_weights_is_refused(value):
    spoil(mlp(8, 3, [4], 0.0), value).save_weights("m.weights.h5")
    with pytest.raises(InputError, match="^m.weights.h5: holds weights that are not finite; train it again with a low"):
        load_weights(mlp(8, 3, [4], 0.0), Path("m.weights.h5"))


def test_a_file_of_such_weights_for_an_extractor_is_refused():
    spoil(extractor("MobileNetV2", 32, False)).save_weights("n.weights.h5")
    with pytest.raises(InputError, match="^n.weights.h5: holds weights that are not finite; put whole weights of Mob"):
        extractor("MobileNetV2", 32, True, "n.weights.h5")


def a_number(path: str) -> np.ndarray:
    return np.array([1, float(path)])


@pytest.mark.parametrize(("number", "dtype"), [("nan", "float32"), ("-inf", "float32"), ("7e4", "float16")])
def test_features_that_the_array_cannot_hold_name_the_clip_and_leave_nothing(number, dtype, monkeypatch):
    monkeypatch.setenv("SCENES_BACKEND", "sequential")
    with pytest.raises(InputError, match=rf"^o.npy: row 2 \(clip {number}\) is not finite in {dtype}; check the clip"):
        shards.map_clips(a_number, ["1", "", number], (2,), dtype, Path("o.npy"), [])
    assert not Path("o.npy").exists()


def test_embeddings_that_are_not_finite_name_the_clip(monkeypatch):
    monkeypatch.setenv("SCENES_BACKEND", "sequential")
    overflow = lambda rows: rows * np.float32(1e38) * 10  # noqa: E731
    with pytest.raises(InputError, match=r"^o.npy: row 0 \(clip 1\) is not finite in float32"):
        shards.map_clips(a_number, ["1"], (2,), "float32", Path("o.npy"), [], overflow)


def evaluated() -> pd.DataFrame:
    """A table of ten clips to predict, the last one without sound, and the first of them in train."""
    made_up.write_split(10, 10)
    split = pd.read_csv("split.csv", keep_default_na=False)
    split.loc[0, "fold"], split.loc[9, "audio"] = "train", ""
    split.to_csv("split.csv", index=False)
    return split


def test_a_prediction_that_is_not_finite_names_the_clip_and_the_model():
    split = evaluated()
    embeddings = np.zeros((10, SECONDS, 8), np.float32)
    embeddings[[4, 9], 3] = np.nan
    np.save("e.npy", embeddings)
    mlp(8, 10, [4], 0.0).save_weights("m.weights.h5")
    command = ["predict.py", "audio-embedding", "split.csv", "classes.csv", "e.npy", "m.weights.h5", "p.npy", "c.csv",
               "m.json", "--widths", "4"]  # fmt: skip
    result = run(*command)
    assert result.returncode == 1 and result.stderr.splitlines()[-1] == (
        f"error: m.weights.h5: its prediction for {split['clip'][4]} is not finite (1 in all); train it again with a "
        "lower --lr"
    )
    assert not list(Path().glob("[pcm].npy")) and not Path("c.csv").exists() and not Path("m.json").exists()
    embeddings[4] = 0
    np.save("e.npy", embeddings)
    assert run(*command).returncode == 0
    silent = np.isnan(np.load("p.npy")).any(axis=(1, 2))
    assert silent.tolist() == 8 * [False] + [True]


def test_a_prediction_of_a_disturbed_clip_that_is_not_finite_names_it():
    split = evaluated()
    split["audio"] = [f"{clip}.wav" for clip in split["clip"]]
    split.to_csv("split.csv", index=False)
    spectrograms = np.zeros((9, 2, 2, 16, 704), np.float16)
    spectrograms[6, 1] = np.nan
    np.save("s.npy", spectrograms)
    vgg14(10, Options([1] * 4, 2), (16, 128)).save_weights("m.weights.h5")
    result = run("predict_robustness.py", "audio-spectrogram", "split.csv", "classes.csv", "s.npy", "m.weights.h5",
                 "p.npy", "--seconds", "1", *4 * ["--widths", "1"], "--dense", "2")  # fmt: skip
    assert result.returncode == 1 and not Path("p.npy").exists()
    assert f"error: m.weights.h5: its prediction for {split['audio'][7]} is not finite (1 in" in result.stderr


def test_a_member_does_not_speak_of_what_is_not_finite():
    network = mlp(8, 10, [4], 0.0)
    embeddings = np.zeros((SECONDS, 8), np.float32)
    embeddings[7] = np.inf
    member = Member("audio_embedding/x", ["audio"], lambda sound: embeddings, network, np.arange(1, SECONDS + 1))
    window = Window(20, np.zeros((2, 480_000), np.float32), None, True)
    with pytest.raises(InputError, match="^audio_embedding/x: its prediction for second 27 is not finite"):
        judge([member], window, 48_000)
