"""Foundation models: embeddings are those of Transformers' own processor and model, called plainly."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soxr
import torch
import transformers
from conftest import noise, run, write_mp4, write_wav

from scenes.features.foundation import Foundation, at_level
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError

PICTURES, SOUNDS = ["CLIP", "SigLIP2", "DINOv2"], ["CLAP", "AST"]
CLIPS = 3


@pytest.fixture
def media(tmp_path) -> Path:
    """media.csv and frames.npy of three clips, of which the second has no sound and the third no pictures."""
    rows = [("a", "a.wav", "a.mp4"), ("b", "", "b.mp4"), ("c", "c.wav", "")]
    table = pd.DataFrame(rows, columns=["clip", "audio", "video"]).assign(fold="train")
    table.to_csv("media.csv", index=False)
    for number, name in enumerate("ac"):
        write_wav(Path(f"{name}.wav"), noise() * 10.0**-number)
    for name in "ab":
        write_mp4(Path(f"{name}.mp4"))
    np.save("frames.npy", np.random.default_rng(0).integers(0, 256, (CLIPS, 10, 48, 48, 3), dtype=np.uint8))
    return tmp_path


def plainly(folder: Path, layer: str, samples: list[np.ndarray]) -> np.ndarray:
    """What a user of Transformers would write."""
    auto = transformers.AutoModel.from_pretrained(folder).eval()
    if hasattr(auto, "get_image_features") or auto.config.model_type == "dinov2":
        inputs = transformers.AutoImageProcessor.from_pretrained(folder)(samples, return_tensors="pt")
    else:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
        inputs = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        if layer == "projected":
            get = getattr(auto, "get_image_features", None) or auto.get_audio_features
            return get(**inputs).pooler_output.numpy()
        tower = getattr(auto, "vision_model", None) or getattr(auto, "audio_model", None) or auto
        return tower(**inputs).pooler_output.numpy()


@pytest.mark.parametrize("layer", ["pooled", "projected"])
@pytest.mark.parametrize("name", PICTURES)
def test_embeddings_of_frames_are_those_of_the_library(name, layer, models, media):
    done = run("embed_foundation.py", "visual", "media.csv", "frames.npy", "out.npy", "--model", f"x/{name}",
               "--weights", models / name, "--layer", layer)  # fmt: skip
    if name == "DINOv2" and layer == "projected":
        assert (
            done.stderr
            == f"error: {models / name}: dinov2 knows no text: take its pooled layer, or a model that knows text\n"
        )
        return
    assert done.returncode == 0, done.stderr
    found, frames = np.load("out.npy"), np.load("frames.npy")
    assert found.dtype == np.float32 and (found[2] == 0).all()
    expected = plainly(models / name, layer, [*frames[0], *frames[1]]).reshape(2, 10, -1)
    np.testing.assert_allclose(found[:2], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert found.shape[-1] == (24 if (name, layer) == ("CLIP", "projected") else 32)


@pytest.mark.parametrize("unit", ["second", "clip"])
@pytest.mark.parametrize(("name", "rate"), [("CLAP", 48_000), ("AST", 16_000)])
def test_embeddings_of_sound_are_those_of_the_library(name, rate, unit, models, media):
    done = run("embed_foundation.py", "audio", "media.csv", "out.npy", "--model", f"x/{name}", "--weights",
               models / name, "--unit", unit)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.load("out.npy")
    assert found.shape == (CLIPS, 10, 32) and (found[1] == 0).all()
    for row, clip in ((0, "a.wav"), (2, "c.wav")):
        sound = read_audio(clip, 48_000).mean(axis=0)
        if rate == 16_000:
            sound = soxr.resample(sound, 48_000, rate)
        sounds = [sound] if unit == "clip" else [np.tile(second, 10) for second in sound.reshape(10, -1)]
        expected = plainly(models / name, "pooled", [sound.astype(np.float32) for sound in sounds])
        np.testing.assert_allclose(found[row], np.broadcast_to(expected, (10, 32)), rtol=1e-5,
                                   atol=1e-5 * np.abs(expected).max())  # fmt: skip


def test_a_level_makes_clips_equally_loud_and_leaves_silence(models, media):
    sounds = np.stack([noise()[0], 0.01 * noise()[0], np.zeros(480_000)])
    scaled = at_level(sounds, -20)
    assert np.sqrt(np.square(scaled[:2]).mean(axis=1)) == pytest.approx([0.1, 0.1]) and (scaled[2] == 0).all()
    command = ("embed_foundation.py", "audio", "media.csv", "out.npy", "--model", "x/AST", "--weights", models / "AST")
    rows = {}
    for level in ("none", "-20"):
        assert run(*command, "--level", level).returncode == 0
        rows[level] = np.load("out.npy")
    assert np.abs(rows["none"][0] - rows["none"][2]).max() > 10 * np.abs(rows["-20"][0] - rows["-20"][2]).max()
    assert run(*command, "--level", "loud").stderr == "error: --level loud: must be none or from -100 to 0\n"


def test_bfloat16_is_close(models, media):
    command = ("embed_foundation.py", "visual", "media.csv", "frames.npy", "out.npy", "--model", "x/CLIP", "--weights",
               models / "CLIP")  # fmt: skip
    rows = {}
    for precision in ("float32", "bfloat16"):
        assert run(*command, "--precision", precision).returncode == 0
        rows[precision] = np.load("out.npy")
    difference = np.abs(rows["float32"] - rows["bfloat16"]).max()
    assert 0 < difference < 0.05 * np.abs(rows["float32"]).max()


def broken(models: Path, how: str) -> Path:
    folder = Path("broken")
    shutil.copytree(models / "CLIP", folder)
    weights, config = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
    match how:
        case "pickle":
            weights.unlink()
            torch.save({"a": 1}, folder / "pytorch_model.bin")
        case "pickle named safetensors":
            torch.save({"a": 1}, weights)
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "another architecture":
            (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
        case "another's weights":
            shutil.copy(models / "DINOv2/model.safetensors", weights)
        case "no config":
            (folder / "config.json").write_text("[")
    return folder


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("pickle", "error: broken: lacks model.safetensors; save the model there in Transformers' layout"),
        ("pickle named safetensors", "error: broken: not a whole clip model ("),
        ("truncated", "error: broken: not a whole clip model ("),
        ("another architecture", "error: broken: a model of the kind 'bert'; known are clip, siglip, dinov2, clap, "),
        ("another's weights", "error: broken: model.safetensors lacks "),
        ("no config", "error: broken/config.json: not the configuration of a model; download it again"),
    ],
)
def test_a_folder_that_is_not_a_whole_model_is_one_line(how, said, models, media):
    done = run("embed_foundation.py", "visual", "media.csv", "frames.npy", "out.npy", "--model", "x/CLIP", "--weights",
               broken(models, how))  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(said), done.stderr
    assert done.stderr.count("\n") == 1 and not Path("out.npy").exists()


def test_weights_that_are_not_finite_are_refused(models):
    folder = broken(models, "")
    model = transformers.CLIPModel.from_pretrained(folder)
    model.visual_projection.weight.data[0, 0] = float("nan")
    model.save_pretrained(folder)
    with pytest.raises(InputError, match="visual_projection.weight holds values that are not finite"):
        Foundation(folder, "pooled", "float32")


def test_a_model_of_sound_is_not_one_of_pictures(models, media):
    done = run("embed_foundation.py", "visual", "media.csv", "frames.npy", "out.npy", "--model", "x/AST", "--weights",
               models / "AST")  # fmt: skip
    assert done.stderr == f"error: {models / 'AST'}: a model of sound; take it as one of those\n"


def test_without_a_network_and_a_folder_it_is_one_line(media, monkeypatch):
    def refused(*arguments, **keywords):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setenv("HF_HOME", str(media / "hub"))
    done = run("embed_foundation.py", "visual", "media.csv", "frames.npy", "out.npy", "--model",
               "google/siglip2-base-patch16-224")  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(
        "error: google/siglip2-base-patch16-224: cannot be downloaded from https://huggingface.co"
    )
