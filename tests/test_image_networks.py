"""The Keras applications: pictures, weights from files, embeddings; and the MLP of Table II."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run
from network_inputs import pictures

from scenes.classifiers.image_networks import classifier, extractor, front
from scenes.classifiers.mlp import Options, mlp
from scenes.features import visual_embedding
from scenes.learning.backend import keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.front import behind
from scenes.learning.inference import forward
from scenes.stage.errors import InputError

layers, applications = keras.layers, keras.applications
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 10, 40, 40, 3), np.uint8)


def plain(name: str = "MobileNetV2", top: bool = False) -> keras.Model:
    """A Keras application whose batch norm has seen pictures."""
    keras.utils.set_random_seed(1)
    build = getattr(applications, name)
    if top:
        network = build(weights=None, input_shape=(32, 32, 3))
    else:
        network = build(weights=None, input_shape=(32, 32, 3), include_top=False, pooling="avg")
    reestimate(network, [(small_pictures(),)])
    return network


def small_pictures() -> np.ndarray:
    return pictures(FRAMES, np.repeat([0, 1, 2], 10), np.tile(np.arange(10), 3), name="MobileNetV2", size=32)


def test_pictures_are_resized_and_preprocessed():
    same = pictures(FRAMES, np.array([2, 0]), np.array([9, 0]), name="InceptionV3", size=40)
    expected = applications.inception_v3.preprocess_input(FRAMES[[2, 0], [9, 0]].astype(np.float32))
    np.testing.assert_allclose(same, expected, rtol=0, atol=1e-6)
    # Antialiased: half the size is near the mean of four pixels, as a single bilinear sample would not be.
    half = pictures(FRAMES, np.array([1]), np.array([5]), name="MobileNetV2", size=20)[0, 2:-2, 2:-2]
    blocks = FRAMES[1, 5].reshape(20, 2, 20, 2, 3).mean(axis=(1, 3))[2:-2, 2:-2] / 127.5 - 1
    assert np.corrcoef(half.ravel(), blocks.ravel())[0, 1] > 0.9 and half.std() < 1.1 * blocks.std()


@pytest.mark.parametrize(("top", "file"), [(False, "a.weights.h5"), (True, "b.h5")])
@pytest.mark.filterwarnings("ignore:You are saving")
def test_weights_saved_by_plain_keras_give_its_embeddings(top, file):
    network = plain(top=top)
    network.save_weights(file) if file.endswith(".weights.h5") else network.save(file)
    inputs = small_pictures()
    pooled = keras.Model(network.input, network.layers[-2 if top else -1].output)
    expected = keras.ops.convert_to_numpy(pooled(inputs, training=False))
    found = keras.ops.convert_to_numpy(extractor("MobileNetV2", 32, True, file)(inputs, training=False))
    assert expected.std(axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_folder_of_weights_is_refused():
    """Which of its files is meant would be a guess, and DVC would depend on all of them."""
    plain().save_weights("mobilenet_v2_mine.weights.h5")
    with pytest.raises(InputError, match="no such file of weights of MobileNetV2; set `weights` to a file"):
        extractor("MobileNetV2", 32, True, ".")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file of weights"),
        (b"no HDF5", "not the weights of MobileNetV2"),
        ("other", "not the weights of"),
    ],
)
def test_other_weights_are_refused_in_one_line(content, message):
    path = Path("x.weights.h5")
    if content == "other":
        mlp(8, 10, [4], 0.0).save_weights(path)
    elif content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        extractor("MobileNetV2", 32, True, str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("VGG19", 200, True), "VGG19: size 200, but pretrained VGG19 .fc2. exists at 224 only"),
        (("MobileNetV2", 32, False, "x.h5"), "pretrained is false"),
        (("VGG20", 224, False), "is not one of Keras' applications, such as InceptionV3"),
        (("InceptionV3", 32, False), "InceptionV3 at 32 pixels"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        extractor(*arguments)


def test_without_network_the_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(applications.mobilenet_v2, "BASE_WEIGHT_PATH", "http://127.0.0.1:9/", raising=False)
    monkeypatch.setattr(sys.modules[applications.MobileNetV2.__module__], "BASE_WEIGHT_PATH", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"(?s)mobilenet_v2_weights.*\.h5.*~/\.keras/models"):
        extractor("MobileNetV2", 96, True)


def test_every_layer_of_a_classifier_trains():
    network = classifier("MobileNetV2", 32, False, 10)
    assert network.output_shape == (None, 10) and all(layer.trainable for layer in network.layers)


def test_mlp_is_table_2():
    network = mlp(2048, 10, **asdict(Options()))
    kinds = [type(layer) for layer in network.layers[1:]]
    assert kinds == 3 * [layers.Dense, layers.Dropout] + [layers.Dense]
    assert [layer.units for layer in network.layers[1::2]] == [8192, 8192, 1024, 10]
    assert [layer.rate for layer in network.layers[2::2]] == [0.4] * 3
    assert [layer.activation.__name__ for layer in network.layers[1::2]] == ["relu"] * 3 + ["softmax"]


def test_embeddings_of_clips_with_and_without_pictures():
    np.save("frames.npy", FRAMES)
    media = pd.DataFrame({"clip": list("abc"), "audio": "", "video": ["a.mp4", "", "c.mp4"], "fold": "train"})
    media.to_csv("media.csv", index=False)
    network = plain()
    network.save_weights("w.weights.h5")
    embed = ["embed_visual.py", "media.csv", "frames.npy", "out.npy", "--network", "MobileNetV2", "--size", "32"]
    result = run(*embed, "--weights", "w.weights.h5")
    assert result.returncode == 0, result.stderr
    rows = np.load("out.npy")
    assert rows.shape == (3, 10, 1280) and rows.dtype == np.float32 and not rows[1].any()
    expected = keras.ops.convert_to_numpy(network(small_pictures(), training=False)).reshape(3, 10, 1280)
    assert np.linalg.norm(rows[[0, 2]] - expected[[0, 2]]) < 1e-4 * np.linalg.norm(expected)

    result = run(*embed, "--no-pretrained")
    assert result.returncode == 0 and "frames.size" not in result.stderr, result.stderr
    rows = np.load("out.npy")
    assert rows[0].std(axis=0).max() > 0.05  # with the initial averages of batch norm 1e-12
    # An evaluate clip has no part in the embeddings of train clips.
    media.assign(fold=["train", "train", "evaluate"]).to_csv("media.csv", index=False)
    embeddings = []
    for frames in (FRAMES, np.concatenate([FRAMES[:2], 255 - FRAMES[2:] // 2])):
        np.save("frames.npy", frames)
        visual_embedding.embedder.cache_clear()  # as in a process of its own
        assert run(*embed, "--no-pretrained").returncode == 0
        embeddings.append(np.load("out.npy"))
    np.testing.assert_array_equal(embeddings[1][0], embeddings[0][0])
    assert not np.allclose(embeddings[1][2], embeddings[0][2]) and not np.array_equal(embeddings[0][0], rows[0])
    pd.DataFrame({"clip": list("abc"), "audio": "x.wav", "video": ""}).to_csv("media.csv", index=False)
    result = run(*embed, "--no-pretrained")
    assert result.returncode == 1 and "no clip has a video" in result.stderr.splitlines()[-1]


def test_frames_smaller_than_a_networks_size_are_told_before_the_work():
    pd.DataFrame({"clip": ["a", "b", "c"], "scene": "bus", "city": "x", "location": "1", "fold": "evaluate",
                  "audio": "", "video": "a.mp4"}).to_csv("split.csv", index=False)  # fmt: skip
    Path("classes.csv").write_text("class,meta_class\nbus,transportation\n")
    np.save("frames.npy", FRAMES)
    size = FRAMES.shape[2]
    options = ["--network", "MobileNetV2", "--size", size + 8, "--no-pretrained"]
    for script in (["train_image.py", "split.csv", "classes.csv", "frames.npy", "m.h5", "h.csv"],
                   ["embed_visual.py", "split.csv", "frames.npy", "out.npy"]):  # fmt: skip
        said = run(*script, *options).stderr.splitlines()[0]
        message = f"frames.size: {size} is smaller than MobileNetV2's size {size + 8}: frames are enlarged"
        assert said == f"warning: {message}"


@pytest.mark.parametrize("name", ["params.yaml", "params.paper.yaml"])
def test_no_network_of_the_parameters_enlarges_its_frames(name):
    params = yaml.safe_load((ROOT / name).read_text())
    sizes = [network["size"] for network in (*params["visual"].values(), *params["audio_visual"].values())]
    assert max(sizes) <= params["frames"]["size"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_embeds_in_the_precision_that_it_is_given(precision):
    np.save("frames.npy", FRAMES)
    arguments = Path("frames.npy"), (0, 1, 2), "MobileNetV2", 32, False, "none", precision, 0
    network = visual_embedding.embedder(*arguments)
    assert {layer.compute_dtype for layer in network.layers[-1].layers if "conv" in layer.name.lower()} == {precision}
    assert forward(network, FRAMES[:, 0]).std(axis=0).max() > 0.05  # batch norm's averages are those of the frames


# The smallest pictures that each takes; VGG19's second-to-last layer is fc2, the others' the global average pooling.
# The paper's seven and one that it does not have: the smallest pictures, and whose preprocessing.
NETWORKS = {
    "Xception": (71, applications.xception), "VGG19": (32, applications.vgg19), "ResNet50": (32, applications.resnet50),
    "InceptionV3": (75, applications.inception_v3), "MobileNetV2": (32, applications.mobilenet_v2),
    "DenseNet121": (32, applications.densenet), "NASNetLarge": (32, applications.nasnet),
    "EfficientNetV2B0": (32, applications.efficientnet_v2),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "NASNetLarge" else name for name in NETWORKS]
)
def test_embeddings_are_plain_keras(name):
    """From the frames on: Keras' own resizing, `preprocess_input` and network, with the same weights."""
    (size, module), frames = NETWORKS[name], FRAMES[:1]
    shape = {"weights": None, "input_shape": (size, size, 3)}
    keras.utils.set_random_seed(1)
    if name == "VGG19":
        network = getattr(applications, name)(**shape)
        network = keras.Model(network.input, network.get_layer("fc2").output)
    else:
        network = getattr(applications, name)(**shape, include_top=False, pooling="avg")
    resized = keras.ops.image.resize(frames[0].astype(np.float32), (size, size), antialias=True)
    seen = module.preprocess_input(np.array(keras.ops.convert_to_numpy(resized)))
    reestimate(network, [(seen,)])
    ours = extractor(name, size, pretrained=False)
    ours.set_weights(network.get_weights())
    expected = keras.ops.convert_to_numpy(network(seen, training=False))
    assert expected.std(axis=0).max() > 0.01 * np.abs(expected).max()
    found = visual_embedding.embed(frames, behind(front(name, size, 40), ours))
    assert found.shape == (1, 10, network.output_shape[-1])
    assert np.abs(found[0] - expected).max() < 1e-4 * np.abs(expected).max()
