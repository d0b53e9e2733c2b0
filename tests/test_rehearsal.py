"""The rehearsal: what is measured of a stage, what follows for the whole data set, and what a machine lacks."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pandas as pd
import pytest
import yaml
from conftest import ROOT, run, write_setup

from scenes.classifiers import image_networks
from scenes.features.foundation import Foundation
from scenes.learning.backend import keras
from scenes.rehearsal import lacking as machine
from scenes.rehearsal.estimate import Measured, estimate, trained_and_other
from scenes.rehearsal.lacking import Machine, Weights, _of_hub, gpus, lacking
from scenes.rehearsal.meter import Meter, Record, gpu_memory
from scenes.rehearsal.setting import at_hand, handful, listed_clips, one_step
from scenes.rehearsal.untrained import size_of, stand_in

PAPER = yaml.safe_load((ROOT / "params.paper.yaml").read_text(encoding="utf-8"))
TAU = {"train": 8_646, "evaluate": 3_645}
FEW = {"train": 11, "evaluate": 10}


def metered(script: str, tmp_path: Path) -> tuple[Meter, str]:
    """A command of Python's, measured, and its log."""
    (tmp_path / "script.py").write_text(script)
    meter = Meter()
    with (tmp_path / "log").open("wb") as log:
        running = meter.start("python script.py", str(tmp_path), {}, log)
        while running.poll() is None:
            pass
        running.leave()
    meter.stop()
    return meter, (tmp_path / "log").read_text()


def test_the_meter_reads_memory_of_all_processes_and_bars_and_leaves_other_lines_in_the_log(tmp_path):
    meter, log = metered(
        "import subprocess, sys, time\n"
        "from tqdm import tqdm\n"
        "held = bytearray(150_000_000)\n"
        "script = 'import time; held = bytearray(150_000_000); time.sleep(1)'\n"
        "child = subprocess.Popen([sys.executable, '-c', script])\n"
        "for _ in tqdm(range(2), desc='batch norm', unit='batch'): pass\n"
        "with tqdm(total=300, desc='a: b.npy', unit='sample') as bar:\n"
        "    for _ in range(10):\n"
        "        time.sleep(0.02)\n"
        "        bar.update(30)\n"
        "        bar.set_postfix(loss='1.234')\n"
        "print('warning: of a clip', file=sys.stderr)\n"
        "child.wait()\n",
        tmp_path,
    )
    assert meter.memory > 300_000_000
    assert log.splitlines() == ["warning: of a clip"]
    assert {name: (bar.total, bar.unit, max(bar.seen)) for name, bar in meter.bars.items()} == {
        "batch norm": (2, "batch", 2),
        "a: b.npy": (300, "sample", 300),
    }
    assert meter.bars["a: b.npy"].seconds_each() > 0


def test_time_per_unit_leaves_the_first_update_out_where_networks_are_traced(tmp_path):
    meter, _ = metered(
        "import time\n"
        "from tqdm import tqdm\n"
        "with tqdm(total=3, unit='clip') as bar:\n"
        "    time.sleep(2)\n"
        "    for _ in range(3):\n"
        "        bar.update(1)\n",
        tmp_path,
    )
    assert meter.bars[""].seconds_each() < 0.3  # with it, 0.67


@pytest.mark.parametrize(
    ("stage", "whole", "rehearsed", "units", "expected"),
    [
        # 864 steps of 100 in an epoch, of 110 samples one
        ("train-visual-image@VGG19", "--epochs 100 --batch 100 --seconds 10", "--epochs 1 --batch 100 --seconds 10",
         300, 300 * 864 * 100),
        ("train-dcase-baseline@audio", "--epochs 199 --batch 64", "--epochs 1 --batch 64",
         1_100, 1_100 * 8_646 * 199 // 11),
        ("predict-visual-image@VGG19", "", "", 100, 36_450),
        ("predict-strict@mel", "", "", 100, 36_450),
        ("predict-robustness@mel", "--seconds 10", "--seconds 1", 60, 60 * 3_645),
        ("robustness@mel", "", "", 60, 6 * 3_645),
        ("frames", "", "", 21, 12_291),
    ],
)  # fmt: skip
def test_units_of_the_whole_data_set(stage, whole, rehearsed, units, expected):
    measured = Measured(0, 0, None, "sample", units, 0.0, {})
    assert estimate(stage, whole, rehearsed, measured, TAU, FEW).units == pytest.approx(expected, rel=1e-3)


def test_hours_and_disk_of_the_whole_data_set(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 4)
    outputs = {"data/frames.npy": 21, "data/models/a.weights.h5": 7, "metrics/a.json": 1, "data/media.csv": 1}
    measured = Measured(15.0, 0, None, "clip", 21, 0.5, outputs)
    alone = estimate("frames", "python", "python", measured, TAU, FEW)
    assert alone.hours == pytest.approx((4.5 + 12_291 * 0.5 / 4) / 3600)  # clips are shared among cores
    assert alone.disk == pytest.approx(12_291 + 7 + 1 + 1)
    network = estimate("embed-audio@Cnn14", "OMP_NUM_THREADS=8 python", "", measured, TAU, FEW)
    assert network.hours == pytest.approx((4.5 + 12_291 * 0.5) / 3600)
    without_bar = estimate("split", "python", "", Measured(2.0, 0, None, None, 0, None, {}), TAU, FEW)
    assert without_bar.hours == pytest.approx(2 / 3600)
    assert trained_and_other(pd.Series(TAU), {"validation": 0.1}) == pytest.approx(
        {"train": 7_781.4, "evaluate": 4_509.6}
    )


def data_set(folder: Path, train: list[str], evaluate: list[str], lacks: str = "") -> dict:
    """`dataset` of params.yaml for clips whose files are empty, all but one there."""
    write_setup(folder / "setup", train, evaluate)
    for kind in ("audio", "video"):
        (folder / kind).mkdir()
        for clip in {*train, *evaluate} - {lacks}:
            (folder / kind / f"{clip}.{'wav' if kind == 'audio' else 'mp4'}").touch()
    classes = sorted({f"{clip.split('-')[0]}:x" for clip in (*train, *evaluate)})
    return {"audio": "audio", "video": "video", "setup": "setup", "classes": classes}


def test_the_handful_has_each_class_different_locations_and_as_many_clips_as_a_batch_needs(tmp_path):
    train = [f"{scene}-lyon-{place}-{scene}{place}{n}" for scene in "ab" for place in range(3) for n in range(20)]
    evaluate = [f"{scene}-paris-9-{scene}{n}" for scene in "ab" for n in range(3)]
    clips = at_hand(listed_clips(data_set(tmp_path, train, evaluate, lacks=train[0]), tmp_path))
    assert len(clips) == 125 and train[0] not in set(clips["clip"])
    few = handful(clips, PAPER)
    chosen = few[few["fold"] == "train"]
    assert len(chosen) == 11  # 110 seconds for a batch of 100
    assert chosen.groupby(["scene", "location"]).size().between(1, 2).all()
    assert chosen.groupby("scene")["location"].nunique().tolist() == [3, 3]
    assert few[few["fold"] == "evaluate"]["scene"].tolist() == ["a", "b"]


def test_without_the_data_set_there_are_no_clips_at_hand(tmp_path):
    assert listed_clips(PAPER["dataset"], tmp_path) is None
    dataset = data_set(tmp_path, ["a-lyon-1-1"], ["a-lyon-2-2"])
    assert len(at_hand(listed_clips(dataset, tmp_path))) == 2
    (tmp_path / "audio/a-lyon-2-2.wav").unlink()
    assert len(listed_clips(dataset, tmp_path)) == 2 and at_hand(listed_clips(dataset, tmp_path)).empty


def test_one_step_changes_only_what_makes_a_training_long(tmp_path):
    clips = pd.DataFrame({"fold": ["train"] * 11 + ["evaluate"] * 10, "scene": ["park", *["bus"] * 20]})
    clips = clips.assign(city="lyon", location=[str(number) for number in range(21)])
    own = tmp_path / "own.h5"
    own.touch()
    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text(encoding="utf-8"))
    params["visual"]["VGG19"]["weights"], params["visual"]["ResNet50"]["weights"] = "own.h5", "absent.h5"
    params["audio_module"]["Mine"] = {"module": "mine", "weights": "own.h5", "unit": "second"}
    reduced = yaml.safe_load(one_step(params, clips, {("audio", "Cnn14")}, gpu=False, project=tmp_path))
    differ = {}

    def compare(name: str, old: object, new: object) -> None:
        if isinstance(old, dict):
            for key in old:
                compare(f"{name}{key}.", old[key], new[key])
        elif old != new:
            differ[name[:-1]] = new

    compare("", params, reduced)
    epochs = {name: differ.pop(name) for name in list(differ) if name.endswith("epochs")}
    assert len(epochs) == 10 and set(epochs.values()) == {1}
    untrained = {name for name in list(differ) if name.endswith("pretrained") and differ.pop(name) is False}
    assert len(untrained) == 4 + 6 + 1 + 2 and "visual.VGG19.pretrained" not in untrained
    assert differ.pop("threads", joblib.cpu_count()) == joblib.cpu_count()
    precisions = {"train.audio_spectrogram", "train.visual_image", "train.audio_visual"}
    assert differ == {
        **{f"{section}.precision": "float32" for section in precisions},
        "audio_module.Mine.weights": str(own),
        "visual.VGG19.weights": str(own), "visual.ResNet50.weights": "none", "robustness.seconds": 1,
        "dataset.audio": "data/clips/audio", "dataset.video": "data/clips/video",
        "dataset.setup": "data/clips/evaluation_setup",
    }  # fmt: skip
    params["visual"]["MobileNetV2"]["micro_batch"] = 300  # a step in one piece
    whole = yaml.safe_load(one_step(params, clips, set(), gpu=False, project=tmp_path))
    assert {name: section.get("epochs") for name, section in whole["train"].items()} == {
        "audio_spectrogram": 1, "audio_embedding": 1, "visual_image": 2, "visual_embedding": 1, "audio_visual": None,
        "dcase_baseline": None,
    }  # fmt: skip
    params["dataset"]["classes"] = ["kitchen:flat", "street:city"]
    other = yaml.safe_load(one_step(params, clips, set(), gpu=False, project=tmp_path))
    assert other["dataset"]["classes"] == ["bus:synthetic", "park:synthetic"]
    on_gpu = yaml.safe_load(one_step(params, clips, set(), gpu=True, project=tmp_path))
    assert on_gpu["train"]["visual_image"]["precision"] == "bfloat16" and on_gpu["threads"] == params["threads"]


def test_a_foundation_model_that_is_not_at_hand_has_its_published_size(tmp_path, monkeypatch):
    model = "facebook/dinov2-small"
    stand_in(model, tmp_path / "data/untrained/DINOv2")
    weights = tmp_path / "data/untrained/DINOv2/model.safetensors"
    assert 0 < weights.stat().st_size - size_of(model) < 100_000  # names and shapes
    assert Foundation(weights.parent, "pooled", "float32").dimension == 384
    stand_in("someone/else", tmp_path / "data/untrained/else")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, size_of(model) - 1))
    stand_in(model, tmp_path / "data/untrained/no_room")
    assert [path.name for path in (tmp_path / "data/untrained").iterdir()] == ["DINOv2"]

    (tmp_path / "own").mkdir()
    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text(encoding="utf-8"))
    params["visual_foundation"]["CLIP"]["weights"] = "own"
    monkeypatch.chdir(tmp_path)
    clips = pd.DataFrame({"fold": ["train"] * 11, "scene": "park", "city": "lyon", "location": map(str, range(11))})
    reduced = yaml.safe_load(one_step(params, clips, {("visual_foundation", "SigLIP2")}, gpu=False, project=tmp_path))
    of = {name: (section["weights"], section["pretrained"]) for name, section in reduced["visual_foundation"].items()}
    assert of == {
        "SigLIP2": ("none", True), "CLIP": (str(tmp_path / "own"), True), "DINOv2": ("data/untrained/DINOv2", False)
    }  # fmt: skip


def test_weights_of_the_hub_are_looked_for_in_its_cache(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    path, address = _of_hub("facebook/dinov2-base", "0" * 40)
    assert path == tmp_path / "models--facebook--dinov2-base/snapshots" / ("0" * 40)
    assert address == f"{constants.ENDPOINT}/facebook/dinov2-base/tree/{'0' * 40}"
    path.mkdir(parents=True)
    (path / "model.safetensors").touch()
    assert _of_hub("facebook/dinov2-base", "0" * 40)[0] == path / "model.safetensors"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A machine with two GPUs, of which the second is filled to 9,000 MiB after a while."""
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\ncase $1 in\n"
        "*index*) echo '0, 500'; echo '1, 100'; echo '1, [N/A]'; echo '1, 9000'; echo '1, 400'; exec sleep 60 ;;\n"
        "*) echo 'NVIDIA A, 8192'; echo 'NVIDIA B, 16384' ;;\nesac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_gpu_memory_is_what_is_added_to_the_fullest(nvidia_smi):
    assert gpus() == (["NVIDIA A", "NVIDIA B"], 8192 * 2**20)
    with gpu_memory() as gpu:
        deadline = time.monotonic() + 30
        while (gpu.peak or 0) < 8_000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert gpu.take() == 8_900 * 2**20


def test_without_nvidia_smi_gpu_memory_is_not_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == ([], 0)
    with gpu_memory() as gpu:
        assert gpu is None


def test_what_a_machine_lacks(nvidia_smi, tmp_path, monkeypatch):
    here, absent = tmp_path / "here.h5", tmp_path / "absent.h5"
    here.touch()
    found = Machine(
        on_gpu=["tensorflow"],
        weights=[
            Weights("visual", "VGG19", here, "https://x/here.h5", 5_000_000),
            Weights("visual", "ResNet50", absent, "https://x/absent.h5", 94_000_000),
            Weights("audio_visual", "ResNet50", absent, "https://x/absent.h5", 94_000_000),
            Weights("visual_foundation", "Other", tmp_path / "other", "https://x/other", 0),
        ],
    )
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 100 * 10**9))
    (tmp_path / "checksums").symlink_to(ROOT / "checksums")
    assert lacking(PAPER, tmp_path, found, 60e9, 8 * 2**30, dataset=False) == [
        "data set: data/tau/clips/evaluation_setup is not there; 108 GB from https://zenodo.org/records/4477542/files",
        f"weights of visual.ResNet50: 94 MB from https://x/absent.h5 to {absent}",
        f"weights of visual_foundation.Other: of unknown size from https://x/other to {tmp_path / 'other'}",
        f"disk: 175 GB are needed, 100 GB are free in {tmp_path}",
        "GPU: NVIDIA A, NVIDIA B by nvidia-smi, but torch sees none; the README, Libraries, says what to install",
        "GPU memory: 8.0 GiB were taken of 8.0; lower a micro_batch",
    ]
    both = Machine(["tensorflow", "torch"], [])
    assert lacking(PAPER, tmp_path, both, 60e9, 2**30, dataset=True) == []
    own = {**PAPER, "dataset": {**PAPER["dataset"], "setup": "mine"}}
    own["audio"] = {"Cnn14": {"pretrained": True, "weights": "cnn14.pth"}}
    own["audio_foundation"] = {"AST": {"pretrained": True, "weights": "models/ast"}}
    assert lacking(own, tmp_path, both, 60e9, float("nan"), dataset=False) == [
        "data set: mine is not there",
        "weights of audio.Cnn14: cnn14.pth is not there",
        "weights of audio_foundation.AST: models/ast is not there",
    ]


def test_addresses_of_imagenet_weights_are_asked_of_keras_and_nothing_is_downloaded(monkeypatch, tmp_path):
    file_utils = image_networks._application("MobileNetV2").file_utils
    before = file_utils.get_file, keras.Model.load_weights
    path, address, size = image_networks.published("MobileNetV2", 224)
    assert path.name == "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    assert path.parent == Path(file_utils.config.keras_home(), "models")
    assert address == f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/{path.name}"
    assert size == 4 * 2_257_984
    assert (file_utils.get_file, keras.Model.load_weights) == before


def rehearse(folder: Path, params: dict, *stages: str) -> subprocess.CompletedProcess:
    (folder / "set-up.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    command = [sys.executable, "stages/rehearse.py", "--params", folder / "set-up.yaml", "--folder", folder / "scratch"]
    return subprocess.run([*command, *stages], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_a_rehearsal_measures_what_runs_says_what_fails_and_a_rerun_continues(tmp_path):
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    broken = tmp_path / "broken.h5"
    broken.write_text("no weights")
    params["visual"]["MobileNetV2"] |= {"pretrained": True, "weights": str(broken)}
    stages = ("predict-audio-spectrogram@*", "train-visual-embedding@MobileNetV2")
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout
    done = rehearse(tmp_path, params, *stages)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: not rehearsed: embed-visual@MobileNetV2, which failed; train-visual-embedding@MobileNetV2, "
        "which need them"
    )
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    names = [row[0].removeprefix("| ") for row in rows[2:]]
    assert names == [
        "split", "spectrogram@mel", "spectrogram@gam", "spectrogram@cqt", "frames",
        "train-audio-spectrogram@mel and 2 like it", "predict-audio-spectrogram@mel and 2 like it",
    ]  # fmt: skip
    assert "Missing on this machine:" in done.stdout
    record = json.loads((tmp_path / "scratch/measured.json").read_text())["stages"]
    training = next(row for command, row in record.items() if "train_spectrogram" in command)
    # Two epochs of one step, which is in one piece: two samples of a pair.
    assert training["units"] == 2 * params["train"]["audio_spectrogram"]["batch"] and training["memory"] > 2**27
    again = rehearse(tmp_path, params, *stages[:1])
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "scratch/measured.json").read_text())["stages"] == record
    of_gam = rehearse(tmp_path, params, "train-audio-spectrogram@gam")  # like mel, which was measured
    assert "| train-audio-spectrogram@gam |" in of_gam.stdout
    after = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout
    assert before == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: [", "set-up.yaml: is not YAML"),
        ("seed: 0", "set-up.yaml: a section is missing or empty"),
    ],
)
def test_a_set_up_that_makes_no_pipeline_is_one_line(tmp_path, text, said):
    (tmp_path / "set-up.yaml").write_text(text)
    done = run("rehearse.py", "--params", tmp_path / "set-up.yaml", "--folder", tmp_path / "scratch", folder=ROOT)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and said in done.stderr


def test_a_missing_set_up_is_one_line(tmp_path):
    done = run("rehearse.py", "--params", tmp_path / "set-up.yaml", "--folder", tmp_path / "scratch", folder=ROOT)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path / 'set-up.yaml'}: No such file or directory\n")


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/mine").touch()
    done = run("rehearse.py", "--folder", tmp_path / "scratch", folder=ROOT)
    said = f"error: {tmp_path / 'scratch'}: holds something else than a rehearsal; name another folder\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_what_another_machine_took_is_not_read(tmp_path):
    record = Record(tmp_path / "measured.json", ["here", "2"])
    record.keep("python stages/frames.py", Measured(1, 2, None, "clip", 21, 0.5, {}))
    again = Record(tmp_path / "measured.json", ["here", "2"])
    assert again == record and not again.of_another
    there = Record(tmp_path / "measured.json", ["there", "64", "NVIDIA A"])
    assert not there and there.of_another


def test_without_nvidia_smis_numbers_the_library_is_believed(tmp_path):
    seen = Machine(["tensorflow", "torch"], [])
    assert lacking(PAPER, ROOT, seen, 0, float("nan"), dataset=True) == []
