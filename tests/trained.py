"""A small checkout whose run is finished: two clips, their features, two networks with seeded weights, predictions."""

import shutil
from pathlib import Path

import yaml
from conftest import ROOT, noise, run, write_mp4, write_wav

from scenes.classifiers.audio_visual import audio_visual
from scenes.classifiers.image_networks import classifier
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.learning.backend import keras

MEMBERS = ["audio_spectrogram/mel", "visual_image/MobileNetV2"]
CLASSES = ["airport", "bus", "park"]


def finished_run(folder: Path) -> Path:
    """Make it in `folder`; the weights are untrained ones."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["vgg14"].update(widths=[4, 4, 4, 4], dense=8)
    params["frames"]["size"] = 40
    params["visual"]["MobileNetV2"]["size"] = 32
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", folder)
    rows = ["clip,scene,city,location,fold,audio,video"]
    for number, clip in enumerate(("bus-lyon-1-1", "park-lyon-2-2")):
        sound = write_wav(folder / f"data/demo/clips/audio/{clip}.wav", (number + 1) * noise())
        film = write_mp4(folder / f"data/demo/clips/video/{clip}.mp4", fps=24 - 12 * number)
        scene, city, location, _ = clip.split("-")
        rows.append(f"{clip},{scene},{city},{location},evaluate,{sound},{film}")
    (data / "split.csv").write_text("\n".join(rows) + "\n")
    (data / "media.csv").write_text("\n".join(rows).replace("evaluate", "train", 1) + "\n")  # one to learn from
    (data / "classes.csv").write_text("class,meta_class\nairport,indoor\nbus,transportation\npark,outdoor\n")

    keras.utils.set_random_seed(0)
    networks = untrained(params)
    for member, network in zip(MEMBERS, networks, strict=True):
        (data / "models" / member).parent.mkdir(parents=True, exist_ok=True)
        network.save_weights(data / f"models/{member}.weights.h5")
    _run(folder, "spectrogram.py", "mel", "data/media.csv", "data/mel.npy", *_options(params["spectrogram"]["mel"]))
    _run(folder, "frames.py", "data/media.csv", "data/frames.npy", "--size", "40")
    vgg, net = _options(params["vgg14"]), ["--network", "MobileNetV2", "--size", "32"]
    for command, array, member, numbers in (
        ("audio-spectrogram", "mel", MEMBERS[0], vgg),
        ("visual-image", "frames", MEMBERS[1], net),
    ):
        _run(
            folder, "predict.py", command, "data/split.csv", "data/classes.csv", f"data/{array}.npy",
            f"data/models/{member}.weights.h5", f"data/predictions/{member}.npy", "confusion.csv", "m.json", *numbers,
        )  # fmt: skip
    return folder


def untrained(params: dict) -> list[keras.Model]:
    """Their weights are enlarged: as initialised, the networks would say the same of every second, to five digits."""
    networks = [vgg14(len(CLASSES), Options(**params["vgg14"])), classifier("MobileNetV2", 32, False, len(CLASSES))]
    for network, gain in zip(networks, (2.0, 3.2), strict=True):
        for weights in network.weights:
            if len(weights.shape) > 1:
                weights.assign(gain * weights)
    return networks


def join(folder: Path) -> str:
    """Add the network of both modalities to a finished run, untrained too, and return its name."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["audio_visual"] = {"MobileNetV2": {"size": 32, "pretrained": False, "weights": "none"}}
    params["audio_visual_mlp"] = {"mlp_widths": [8], "mlp_dropout": 0.2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    member = "audio_visual/MobileNetV2"
    keras.utils.set_random_seed(1)
    parts = untrained(params)
    (folder / "data/models/audio_visual").mkdir()
    audio_visual(*parts, len(CLASSES), [8], 0.2).save_weights(folder / f"data/models/{member}.weights.h5")
    numbers = {**params["vgg14"], **params["audio_visual_mlp"]}
    _run(
        folder, "predict.py", "audio-visual", "data/split.csv", "data/classes.csv", "data/mel.npy", "data/frames.npy",
        f"data/models/{member}.weights.h5", f"data/predictions/{member}.npy", "confusion.csv", "m.json",
        "--network", "MobileNetV2", "--size", "32", *_options(numbers),
    )  # fmt: skip
    return member


def _options(numbers: dict) -> list[str]:
    return [
        word
        for key, value in numbers.items()
        for item in (value if isinstance(value, list) else [value])
        for word in (f"--{key}", str(item))
    ]


def _run(folder: Path, script: str, *arguments: str) -> None:
    result = run(script, *arguments, folder=folder)
    assert result.returncode == 0, result.stderr
