"""PE-AV: embeddings of sound with its frames are those of Transformers' own processors and model, called plainly.

Tests that make a model are skipped where requirements-peav.txt is not installed.
"""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from conftest import noise, run, write_wav

from scenes.app.members import FEATURES, Run
from scenes.features.foundation import ARCHITECTURES, Foundation, embed_both
from scenes.media.clip import read_audio
from scenes.systems import FAMILIES

PACKAGES = ARCHITECTURES["pe_audio_video"].packages
COMMAND = ("embed_foundation.py", "audio-visual", "media.csv", "frames.npy", "out.npy", "--model", "x/PE_AV")
CLIPS = 5  # of which the fourth has no sound and the last no pictures
NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16}
TEXT = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}  # fmt: skip
SOUND = {**NARROW, "dac_config": {"encoder_hidden_size": 4, "codebook_dim": 8, "n_codebooks": 1}}
VISION = {"architecture": "vit_pe_core_tiny_patch16_384",
          "model_args": {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 32}}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A narrow PE-AV with seeded weights."""
    for package in PACKAGES:
        try:
            import_module(package)
        except (ImportError, RuntimeError) as error:
            pytest.skip(f"requirements-peav.txt is not installed ({error})")
    folder = tmp_path_factory.mktemp("models") / "PE_AV"
    config = transformers.PeAudioVideoConfig(
        text_config=TEXT,
        audio_video_config={**NARROW, "audio_config": SOUND, "video_config": {**NARROW, "vision_config": VISION}},
    )
    torch.manual_seed(0)
    made = transformers.PeAudioVideoModel(config).eval()
    for weights in (one for one in made.parameters() if one.ndim > 1):
        torch.nn.init.normal_(weights, std=0.5 * weights[0].numel() ** -0.5)  # as made, no sound passes them
    made.save_pretrained(folder)
    transformers.PeAudioFeatureExtractor().save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    transformers.PeVideoVideoProcessor(
        size={"height": 32, "width": 32}, do_resize=True, do_rescale=True, do_normalize=True, image_mean=half,
        image_std=half,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture
def media() -> None:
    """media.csv and frames.npy."""
    sounds, videos = ["0.wav", "1.wav", "2.wav", "", "4.wav"], ["0.mp4", "1.mp4", "2.mp4", "3.mp4", ""]
    pd.DataFrame({"clip": range(CLIPS), "audio": sounds, "video": videos, "fold": "train"}).to_csv("media.csv")
    for number in (0, 1, 2, 4):
        write_wav(Path(f"{number}.wav"), np.roll(noise(), 1000 * number, axis=1) * 2.0**-number)
    np.save("frames.npy", np.random.default_rng(0).integers(0, 256, (CLIPS, 10, 48, 48, 3), dtype=np.uint8))


def plainly(folder: Path, layer: str, sounds: list[np.ndarray], videos: list[np.ndarray]) -> np.ndarray:
    """What a user of Transformers would write."""
    auto = transformers.AutoModel.from_pretrained(folder).eval()
    hears, sees = (kind.from_pretrained(folder) for kind in
                   (transformers.AutoFeatureExtractor, transformers.AutoVideoProcessor))  # fmt: skip
    inputs = {**hears(sounds, sampling_rate=48_000, return_tensors="pt"), **sees(videos, return_tensors="pt")}
    with torch.no_grad():
        if layer == "projected":
            return auto.get_audio_video_embeds(**inputs).audio_video_embeds.numpy()
        return auto.audio_video_encoder(**inputs).pooler_output.numpy()


def same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("layer", "dimension", "unit"), [("pooled", 32, "second"), ("projected", 24, "clip")])
def test_embeddings_of_both_are_those_of_the_library(layer, dimension, unit, model, media):
    done = run(*COMMAND, "--weights", model, "--layer", layer, "--unit", unit)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found, frames = np.load("out.npy"), np.load("frames.npy")
    assert found.shape == (CLIPS, 10, dimension) and found.dtype == np.float32 and (found[3:] == 0).all()
    for clip in range(3):
        sound = read_audio(f"{clip}.wav", 48_000).mean(axis=0).astype(np.float32)
        # A second of sound and its one frame, or ten seconds and ten frames.
        seconds = 10 if unit == "second" else 1
        videos = frames[clip].reshape(seconds, -1, *frames.shape[2:])
        same(found[clip], np.broadcast_to(plainly(model, layer, [*sound.reshape(seconds, -1)], [*videos]),
                                          (10, dimension)))  # fmt: skip


def test_sound_and_frames_both_have_a_part_in_it(model):
    sounds = np.tile(noise()[:1], (3, 1)) * [[1], [0.1], [1]]
    frames = np.random.default_rng(0).integers(0, 256, (1, 10, 48, 48, 3), dtype=np.uint8).repeat(3, axis=0)
    frames[2] //= 4
    rows = embed_both(sounds, frames, Foundation(model, "pooled", "float32"), "second", None)
    of_sound, of_frames = np.abs(rows[1:] - rows[0]).max(axis=2)
    assert of_sound.min() > 1e-3 and of_frames.min() > 1e-3


def test_a_video_of_ones_own_has_the_stages_embeddings(model, media):
    entry = {"model": "x/PE_AV", "revision": "main", "weights": str(model), "layer": "projected", "unit": "second",
             "level": "-20"}  # fmt: skip
    assert run(*COMMAND[:-2], *(word for key, value in entry.items() for word in (f"--{key}", value))).returncode == 0
    params = {"audio_visual_foundation": {"PE_AV": entry}, "foundation": {"precision": "float32"}, "frames": {}}
    feature = FEATURES["audio_visual_embedding"](Run(Path(), params, {}), "PE_AV")
    (path,) = FAMILIES["audio_visual_foundation"].features_of("PE_AV")
    assert path == "audio_visual_embedding/PE_AV" and feature.media == ("audio", "video")
    row = feature.extract(read_audio("1.wav", 48_000), np.load("frames.npy")[1])
    assert row.shape == feature.shape
    same(row, np.load("out.npy")[1])


def test_bfloat16_is_close(model, media):
    rows = {}
    for precision in ("float32", "bfloat16"):
        assert run(*COMMAND, "--weights", model, "--precision", precision).returncode == 0
        rows[precision] = np.load("out.npy")[:3].ravel()
    assert 0.95 < np.corrcoef(*rows.values())[0, 1] < 1 - 1e-9


def test_both_processors_may_stand_in_one_file(model, media):
    """As on the hub."""
    assert run(*COMMAND, "--weights", model).returncode == 0
    separate = np.load("out.npy")
    shutil.copytree(model, "one")
    files = [Path("one/preprocessor_config.json"), Path("one/video_preprocessor_config.json")]
    both = dict(zip(("feature_extractor", "video_processor"), (json.loads(file.read_text()) for file in files),
                    strict=True))  # fmt: skip
    for file in files:
        file.unlink()
    Path("one/processor_config.json").write_text(json.dumps(both))
    assert run(*COMMAND, "--weights", "one").returncode == 0
    np.testing.assert_array_equal(np.load("out.npy"), separate)


def test_a_processor_that_is_not_there_is_one_line(model, media):
    shutil.copytree(model, "broken")
    Path("broken/video_preprocessor_config.json").unlink()
    said = "error: broken: lacks processor_config.json; save the processor there in Transformers' layout\n"
    assert run(*COMMAND, "--weights", "broken").stderr == said


def test_a_model_of_both_is_not_one_of_sound(model, media):
    done = run("embed_foundation.py", "audio", "media.csv", "out.npy", "--model", "x/PE_AV", "--weights", model)
    assert done.stderr == f"error: {model}: a model of sound and pictures; take it as one of those\n"


OTHER = "operator torchvision::nms does not exist"  # what a torchvision of another torch says


@pytest.mark.parametrize(
    ("kind", "packages", "reason"),
    [
        ("pe_audio_video", "timm and torchvision", "import of torchvision halted; None in sys.modules"),
        ("pe_audio_video", "timm and torchvision", OTHER),
        ("clip", "torchvision", OTHER),
    ],
)
def test_without_its_packages_it_is_one_line(kind, packages, reason, media, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setitem(sys.modules, "torchvision", None)
    if reason == OTHER:
        Path("torchvision.py").write_text(f"raise RuntimeError({OTHER!r})")
        monkeypatch.syspath_prepend(".")
        monkeypatch.delitem(sys.modules, "torchvision")
    folder = Path("model")
    folder.mkdir()
    for name in ("preprocessor_config.json", "model.safetensors"):
        (folder / name).touch()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    done = run(*COMMAND, "--weights", folder)
    assert done.returncode == 1 and not Path("out.npy").exists()
    said = f"error: model: {kind} needs {packages} beside a matching torch ({reason}): pip install "
    assert done.stderr == said + "-r requirements-peav.txt, with the index that it names for a CPU build\n"
