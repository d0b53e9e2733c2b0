"""Models of the user's own: modules of ten lines are members, and what goes wrong in them is one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soxr
import yaml
from conftest import BACKENDS, ROOT, needs_tensorflow, noise, run, write_wav
from trained import CLASSES, finished_run

from scenes.app.members import load, read_run
from scenes.classifiers.mlp import mlp
from scenes.features.audio_module import hear
from scenes.features.user_code import files
from scenes.features.visual_module import network
from scenes.learning.backend import keras
from scenes.media.clip import read_audio

# Of each sound its loudness and its first sample, times a weight: ten timestamps a second, at the middle of each.
HEAR = """
import torch
class Model(torch.nn.Module):
    sample_rate, scene_embedding_size, timestamp_embedding_size = 16000, 2, 1
    gain = 1.0
def load_model(model_file_path=""):
    model = Model()
    model.gain = torch.load(model_file_path)["gain"] if model_file_path else 1.0
    return model
def get_scene_embeddings(audio, model):
    return model.gain * torch.stack([audio.square().mean(dim=1), audio[:, 0]], dim=1)
def get_timestamp_embeddings(audio, model):
    times = torch.arange(50.0, 10000, 100).expand(len(audio), -1)
    return audio.reshape(len(audio), 100, -1).square().mean(dim=2, keepdim=True), times
"""
# Means of the channels, under Keras with weights and under torch.
KERAS = """
import keras
def make(weights=None):
    frames = keras.Input((32, 32, 3))
    scaled = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity")(frames)
    network = keras.Model(frames, keras.layers.GlobalAveragePooling2D()(scaled))
    if weights:
        network.load_weights(weights)
    return network
"""
TORCH = """
import torch
class Mean(torch.nn.Module):
    def forward(self, frames):
        assert frames.shape[1:] == (3, 32, 32) and not self.training
        return frames.mean(dim=(2, 3))
make = Mean
"""


@pytest.fixture(autouse=True)
def _forget():
    """The modules of one test are not those of the next, which have the same names."""
    yield
    hear.cache_clear()
    network.cache_clear()
    for name in ("mine", "mypackage", "mypackage.networks"):
        sys.modules.pop(name, None)
    sys.path[:] = [place for place in sys.path if not place.startswith(str(Path.cwd()))]


@pytest.fixture(autouse=True)
def media() -> None:
    """media.csv and frames.npy of three clips, of which the second has no sound and the third no pictures."""
    rows = [("a", "a.wav", "a.mp4"), ("b", "", "b.mp4"), ("c", "c.wav", "")]
    pd.DataFrame(rows, columns=["clip", "audio", "video"]).assign(fold="train").to_csv("media.csv", index=False)
    rising = noise() * np.linspace(0, 1, 480_000)
    for name, sound in (("a", rising), ("c", rising[:, ::-1])):
        write_wav(Path(f"{name}.wav"), sound)
    np.save("frames.npy", np.random.default_rng(0).integers(0, 256, (3, 10, 48, 48, 3), dtype=np.uint8))


def write(text: str, path: str | Path = "mine.py") -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(text)


def audio(module: str = "mine", *options: object) -> subprocess.CompletedProcess:
    return run("embed_audio_module.py", "media.csv", "out.npy", "--module", module, *options)


def visual(network: str = "mine:make", *options: object) -> subprocess.CompletedProcess:
    return run("embed_visual_module.py", "media.csv", "frames.npy", "out.npy", "--network", network, "--size", 32,
               *options)  # fmt: skip


def heard(clip: str) -> np.ndarray:
    """Mono at the model's rate, `[10, 16000]`."""
    return soxr.resample(read_audio(clip, 48_000).mean(axis=0), 48_000, 16_000).reshape(10, -1)


@pytest.mark.parametrize("unit", ["second", "clip", "timestamps"])
def test_a_module_of_hear_is_given_seconds_or_clips(unit):
    write(HEAR)
    done = audio("mine", "--unit", unit)
    assert done.returncode == 0, done.stderr
    found = np.load("out.npy")
    assert found.dtype == np.float32 and (found[1] == 0).all()
    for row, clip in ((0, "a.wav"), (2, "c.wav")):
        sound = heard(clip)
        loudness, first = np.square(sound).mean(axis=1), sound[:, 0]
        if unit == "clip":
            loudness, first = np.full(10, loudness.mean()), np.full(10, first[0])
        expected = loudness[:, None] if unit == "timestamps" else np.stack([loudness, first], axis=1)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-7)


def test_weights_are_given_to_load_model():
    import torch

    write(HEAR)
    torch.save({"gain": 3.0}, "gain.pt")
    rows = []
    for weights in ("none", "gain.pt"):
        assert audio("mine", "--weights", weights).returncode == 0
        rows.append(np.load("out.npy"))
    np.testing.assert_allclose(rows[1], 3 * rows[0], rtol=1e-6)


@needs_tensorflow
@pytest.mark.slow
def test_a_model_of_tensorflow_is_given_its_tensors():
    """In a process of its own: TensorFlow takes seconds to import, and does not leave."""
    text = HEAR.replace("import torch", "import tensorflow as tf").replace("torch.nn.Module", "tf.Module")
    text = text.partition("def get_scene")[0] + (
        "def get_scene_embeddings(audio, model):\n"
        "    assert isinstance(audio, tf.Tensor)\n"
        "    return tf.stack([tf.reduce_mean(audio**2, axis=1), audio[:, 0]], axis=1)\n"
    )
    write(text)
    script = ROOT / "stages/embed_audio_module.py"
    command = [sys.executable, script, "media.csv", "out.npy", "--module", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load("out.npy")[0, :, 0], np.square(heard("a.wav")).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("text", [KERAS, TORCH], ids=["keras", "torch"])
def test_a_function_gives_a_network_of_frames(text):
    write("", "mypackage/__init__.py")
    write(text, "mypackage/networks.py")
    done = visual("mypackage.networks:make")
    assert done.returncode == 0, done.stderr
    # An interrupted run does not resume after an edit of these.
    assert [path.name for path in files("mypackage.networks")] == ["__init__.py", "networks.py"]
    found, frames = np.load("out.npy"), np.load("frames.npy")
    assert found.dtype == np.float32 and found.shape == (3, 10, 3) and (found[2] == 0).all()
    resized = keras.ops.image.resize(frames[0].astype(np.float32), (32, 32), "bilinear", antialias=True)
    expected = keras.ops.convert_to_numpy(resized).mean(axis=(1, 2))
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)
    assert np.ptp(found[:2]) > 5


def test_a_function_is_given_the_file_of_weights():
    write(KERAS)
    assert visual().returncode == 0
    plain = np.load("out.npy")
    made = sys.modules["mine"].make()
    made.layers[1].set_weights([2 * np.eye(3)])
    made.save_weights("twice.weights.h5")
    assert visual("mine:make", "--weights", "twice.weights.h5").returncode == 0
    np.testing.assert_allclose(np.load("out.npy"), 2 * plain, rtol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.slow
def test_both_kinds_of_networks_run_whatever_keras_runs_on(backend):
    rows = []
    for text in (KERAS, TORCH):
        write(text)
        script = ROOT / "stages/embed_visual_module.py"
        command = [sys.executable, script, "media.csv", "frames.npy", "out.npy", "--network", "mine:make", "--size=32"]
        environment = {**os.environ, "KERAS_BACKEND": backend}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows.append(np.load("out.npy"))
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4)


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def refused(done: subprocess.CompletedProcess, said: str) -> None:
    """One line, after the bar of the progress where a clip was read."""
    assert done.returncode == 1 and not Path("out.npy").exists()
    assert done.stderr.splitlines()[-1] == f"error: {said.format(folder=Path.cwd())}"
    assert done.stderr.count("\n") == 1 + done.stderr.count("clip/s]") // 2, done.stderr


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (None, [], "mine: no module mine; install it, or put it into {folder}"),
        ("import nosuch\n", [], "mine: ModuleNotFoundError: No module named 'nosuch' ({folder}/mine.py:1)"),
        ("def load_model(:\n", [], "mine: SyntaxError: invalid syntax (mine.py, line 1)"),
        ("raise SystemExit(0)\n", [], "mine: SystemExit: 0 ({folder}/mine.py:1)"),
        ("load_model = 1\n", [],
         "mine: no function load_model in {folder}/mine.py; add it, or name another module"),
        (changed(HEAR, "    model = Model()", "    raise OSError('no key')"), [],
         "mine: OSError: no key ({folder}/mine.py:7)"),
        (changed(HEAR, "sample_rate, ", "rate, "), [], "mine: AttributeError: 'Model' object has no attribute "
         "'sample_rate'"),
        (changed(HEAR, "16000", "16"), [], "mine: sample_rate is 16; must be 1000 to 192000 samples a second"),
        (changed(HEAR, "model.gain * ", "__import__('json').loads('[') * "), [],
         "mine: JSONDecodeError: Expecting value: line 1 column 2 (char 1) ({folder}/mine.py:11)"),
        (changed(HEAR, "audio[:, 0]]", "audio[:, 0], audio[:, 1]]"), [],
         "mine: get_scene_embeddings gave an array [10, 3], not [10, 2]"),
        (changed(HEAR, "10000", "9000").replace("100, -1", "90, -1").replace("audio.reshape", "audio[:, :144000]"
         ".reshape"), ["--unit", "timestamps"],
         "mine: get_timestamp_embeddings gave no timestamp in second 10 of ten; set unit to second or clip"),
        (changed(HEAR, "100, -1", "50, -1"), ["--unit", "timestamps"],
         "mine: get_timestamp_embeddings gave an array [1, 50, 1], not [1, 100, 1]"),
        (HEAR, ["--weights", "lacking.pt"],
         "lacking.pt: no such file of weights of mine; set weights to a file, or to none"),
        (changed(HEAR, "model.gain * ", "float('nan') * "), [],
         "out.npy: row 0 (clip a.wav) is not finite in float32; check the clip and the network's weights"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_used_is_one_line(text, options, said):
    if text is not None:
        write(text)
    done = audio("mine", *options)
    refused(done, said)


@pytest.mark.parametrize(
    ("text", "function", "said"),
    [
        (TORCH, "mine", "--network mine: must be module:function, such as mypackage.networks:make"),
        (TORCH, "mine:build", "mine: no function build in {folder}/mine.py; add it, or name another module"),
        ("def make():\n    return 'VGG19'\n", "mine:make",
         "mine:make: gave a str, not a keras.Model or a torch.nn.Module"),
        ("def make():\n    return 1 / 0\n", "mine:make", "mine: ZeroDivisionError: division by zero "
         "({folder}/mine.py:2)"),
        (changed(TORCH, "(3, 32, 32)", "(3, 64, 64)"), "mine:make", "mine: AssertionError ({folder}/mine.py:5)"),
        (changed(TORCH, "frames.mean(dim=(2, 3))", "frames"), "mine:make",
         "mine:make: the network gave an array [1, 3, 32, 32] for 1 frames, not [n, D]"),
        (changed(KERAS, "keras.layers.GlobalAveragePooling2D()(scaled)", "scaled"), "mine:make",
         "mine:make: the network gave an array [1, 32, 32, 3] for 1 frames, not [n, D]"),
        (changed(TORCH, "(2, 3))", "(2, 3)) * float('nan')"), "mine:make",
         "out.npy: row 0 (clip 0) is not finite in float32; check the clip and the network's weights"),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_used_is_one_line(text, function, said):
    write(text)
    done = visual(function)
    refused(done, said)


def test_classify_embeds_as_the_stages_do(tmp_path):
    """Modules and weights are looked for in the checkout; what hears the whole clip waits for its end."""
    folder = finished_run(tmp_path / "run")
    write(HEAR, folder / "mine.py")
    write(TORCH, folder / "mypackage/networks.py")
    numbers = yaml.safe_load((folder / "params.yaml").read_text())
    own = {"audio": {"module": "mine", "weights": "none", "unit": "timestamps"},
           "visual": {"network": "mypackage.networks:make", "weights": "none", "size": 32}}  # fmt: skip
    for kind, entry in own.items():
        numbers[f"{kind}_module"], numbers[f"{kind}_probe"] = {"Mine": entry}, {"Mine": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(numbers))
    clip, frames = folder / "data/demo/clips/audio/park-lyon-2-2.wav", np.load(folder / "data/frames.npy")
    given = {"audio": (read_audio(clip, 48_000), []), "visual": (frames[1], ["data/frames.npy"])}
    for kind, (array, arrays) in given.items():
        words = [word for key, value in own[kind].items() for word in (f"--{key}", value)]
        done = run(f"embed_{kind}_module.py", "data/media.csv", *arrays, "out.npy", *words, folder=folder)
        assert done.returncode == 0, done.stderr
        expected = np.load(folder / "out.npy")[1]
        dimension = expected.shape[1]
        heads = {
            f"{kind}_module": mlp(dimension, len(CLASSES), **numbers["mlp"]),
            f"{kind}_probe": keras.Sequential([keras.Input((dimension,)), keras.layers.Dense(len(CLASSES))]),
        }
        for family, head in heads.items():
            (folder / f"data/models/{family}").mkdir()
            head.save_weights(folder / f"data/models/{family}/Mine.weights.h5")
            (member,) = load(read_run(folder), [f"{family}/Mine"])
            np.testing.assert_allclose(member.inputs(array), expected, rtol=1e-5)
            assert list(member.needs) == ([10] * 10 if kind == "audio" else list(range(1, 11)))
