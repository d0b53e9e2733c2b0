"""Stages killed at any moment (SIGKILL) go on where they stopped, to the result of an undisturbed run."""

import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run
from dvc.repo import Repo

from scenes.dataset import shards
from scenes.learning import callbacks, training
from scenes.learning.mixup import MixedBatches
from scenes.stage import resume
from scenes.stage.resume import resume_folder

CLIPS = 24

EXTRACTION = """
import sys, time
from pathlib import Path
import numpy as np
from scenes.dataset import shards
shards.SHARD = 2

def read(number):
    with open("calls", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(0.05)
    return np.random.default_rng(number).standard_normal(5)

shards.map_clips(read, list(range(1, 25)), (5,), "float32", Path(sys.argv[1]), [])
"""

TRAINING = str(ROOT / "stages/train_embedding.py")


def start(*arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "stages"), "SCENES_WORKERS": "2"}
    return subprocess.Popen([sys.executable, *arguments], env=environment, stderr=subprocess.DEVNULL,
                            start_new_session=True)  # fmt: skip


def kill(process: subprocess.Popen) -> None:
    """End the process and its workers without a chance to tidy up."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_extraction_redoes_at_most_a_shard_a_worker():
    assert start("-c", EXTRACTION, "whole.npy").wait() == 0
    Path("calls").unlink()
    process = start("-c", EXTRACTION, "cut.npy")
    wait_for(lambda: any(len(done.read_text().split()) >= 3 for done in Path(".resume").glob("cut.npy@*/done")))
    kill(process)
    finished = 2 * len(next(Path(".resume").glob("cut.npy@*/done")).read_text().split())
    assert 6 <= finished < CLIPS and not Path("cut.npy").exists()
    Path("calls").unlink()
    assert start("-c", EXTRACTION, "cut.npy").wait() == 0
    assert len(Path("calls").read_text().split()) == CLIPS - finished
    assert Path("cut.npy").read_bytes() == Path("whole.npy").read_bytes()
    assert not list(Path(".resume").iterdir())


def test_work_of_another_run_is_cleaned_away_not_used():
    process = start("-c", EXTRACTION, "out.npy", "of other parameters")
    wait_for(lambda: any(done.read_text() for done in Path(".resume").glob("out.npy@*/done")))
    kill(process)
    Path("calls").unlink()
    assert start("-c", EXTRACTION, "out.npy").wait() == 0
    assert len(Path("calls").read_text().split()) == CLIPS and not list(Path(".resume").iterdir())


def test_a_killed_training_goes_on_to_the_same_weights():
    rows = [f"c{i},{'abc'[i % 3]},x,{i},{'train' if i < 9 else 'validation'},a.wav," for i in range(12)]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\na,x\nb,x\nc,y\n")
    np.save("embedding.npy", np.random.default_rng(0).standard_normal((12, 10, 64)).astype(np.float32))

    def command(name: str) -> list[str]:
        return ["audio-embedding", "split.csv", "classes.csv", "embedding.npy", f"{name}.weights.h5", f"{name}.csv",
                "--epochs", "40", "--batch", "30", "--lr", "0.01", "--widths", "16", "--widths", "16"]  # fmt: skip

    assert run("train_embedding.py", *command("whole")).returncode == 0
    process = start(TRAINING, *command("cut"))
    wait_for(lambda: list(Path(".resume").glob("cut.weights.h5@*/epoch-*")))
    kill(process)
    assert not Path("cut.weights.h5").exists()
    state = max(Path(".resume").glob("cut.weights.h5@*/epoch-*"))
    assert 1 <= len(pd.read_csv(state / "history.csv")) == int(re.search(r"\d+", state.name).group()) < 40
    assert run("train_embedding.py", *command("cut")).returncode == 0
    assert list(pd.read_csv("cut.csv")["epoch"]) == list(range(1, 41))
    expected, found = weights("whole.weights.h5"), weights("cut.weights.h5")
    assert expected.keys() == found.keys() and len(expected) >= 6
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


CHANGES = {
    "nothing": lambda patch: os.utime("classes.csv"),
    "classes": lambda patch: Path("classes.csv").write_text("class,meta_class\nb,x\na,x\n"),
    "backend": lambda patch: patch.setenv("KERAS_BACKEND", "jax"),
    "threads": lambda patch: patch.setenv("OMP_NUM_THREADS", "7"),
    "precision": lambda patch: patch.setattr(sys, "argv", ["train_embedding.py", "--precision", "bfloat16"]),
    "library": lambda patch: patch.setattr(resume, "_version", lambda name: f"{name} of tomorrow"),
    "array": lambda patch: os.utime("e.npy", (0, 0)),
    "code": lambda patch: patch.delitem(sys.modules, shards.__name__),
}


@pytest.mark.parametrize("change", CHANGES)
def test_work_goes_on_only_where_nothing_that_decides_its_numbers_has_changed(monkeypatch, change):
    """A table is known by its content: one that is written again with the same clips is the same."""
    Path("classes.csv").write_text("class,meta_class\na,x\nb,x\n")
    Path("e.npy").touch()
    inputs = [Path("classes.csv"), Path("e.npy")]
    before = resume_folder(Path("m.weights.h5"), inputs)
    times = os.stat("classes.csv")
    CHANGES[change](monkeypatch)
    if change == "classes":
        os.utime("classes.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    after = resume_folder(Path("m.weights.h5"), inputs)
    same = change == "nothing"
    assert (after == before) is same and before.exists() is same


def write_training_data() -> None:
    rows = [f"c{i},{'abc'[i % 3]},x,{i},{'train' if i < 9 else 'evaluate'},a.wav,a.mp4" for i in range(12)]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\na,x\nb,x\nc,y\n")
    for name, shape in {"e": (10, 8), "mel": (2, 16, 704), "frames": (10, 32, 32, 3), "audio": (2, 8)}.items():
        np.save(f"{name}.npy", np.random.default_rng(0).random((12, *shape)).astype(np.float32))


VGG14 = ["--dense", "2", *(word for width in "1111" for word in ("--widths", width))]
NETWORK = ["--network", "MobileNetV2", "--size", "32", "--no-pretrained"]
SCRIPTS = {
    "train_embedding": ["e.npy", "m.weights.h5", "h.csv", "--widths", "4"],
    "train_spectrogram": ["mel.npy", "m.weights.h5", "h.csv", *VGG14],
    "train_image": ["frames.npy", "m.weights.h5", "h.csv", *NETWORK],
    "train_audio_visual": ["mel.npy", "frames.npy", "v.h5", "i.h5", "m.weights.h5", "h.csv", *NETWORK, *VGG14,
                           "--start", "scratch", "--mlp-widths", "4"],
    "train_baseline": ["{modality}.npy", "none", "m.weights.h5", "h.csv"],
}  # fmt: skip


def test_every_training_tells_of_all_its_tables_and_arrays(monkeypatch):
    in_epochs = {path.stem for path in (ROOT / "stages").glob("train_*.py")} - {"train_probe"}
    assert set(SCRIPTS) == in_epochs
    write_training_data()
    given = []
    monkeypatch.setattr(training, "train", lambda *arguments, **_: given.append(arguments[6]))
    for script, arguments in SCRIPTS.items():
        before = {"train_baseline": ["audio"], "train_embedding": ["audio-embedding"]}.get(script, [])
        result = run(f"{script}.py", *before, "split.csv", "classes.csv", *arguments)
        assert result.returncode == 0, result.stderr
        read = {"audio.npy" if "{" in word else word for word in arguments if word.endswith(".npy")}
        assert set(map(str, given[-1])) == {"split.csv", "classes.csv", *read}, script


@pytest.mark.parametrize(
    ("script", "arguments", "table"),
    [
        ("frames.py", ["media.csv", "o.npy"], "media.csv"),
        ("spectrogram.py", ["mel", "media.csv", "o.npy"], "media.csv"),
        ("spectrogram.py", ["mel", "split.csv", "o.npy", "--strict"], "split.csv"),
        ("disturb_frames.py", ["split.csv", "frames.npy", "o.npy", "--disturbance", "light:0.5"], "split.csv"),
    ],
)
def test_an_extraction_tells_of_its_table_which_decides_the_order_of_rows(monkeypatch, script, arguments, table):
    write_training_data()
    Path("media.csv").write_text("clip,audio,video\na,a.wav,a.mp4\nb,,\n")
    given = {}
    monkeypatch.setattr(shards, "map_clips", lambda *arguments, inputs: given.update(inputs=inputs))
    result = run(script, *arguments)
    assert result.returncode == 0, result.stderr
    assert Path(table) in given["inputs"]


def test_a_training_that_was_killed_does_not_go_on_with_other_classes(monkeypatch):
    write_training_data()
    steps = iter(range(1, 100))

    def killed() -> None:
        if next(steps) == 10:
            raise RuntimeError("killed")

    def command(name: str) -> list[str]:
        return ["train_embedding.py", "audio-embedding", "split.csv", "classes.csv", "e.npy", f"{name}.weights.h5",
                f"{name}.csv", "--widths", "4", "--epochs", "5", "--batch", "30"]  # fmt: skip

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(callbacks, "stop_if_asked", killed)
        run(*command("cut"))
    assert list(Path(".resume").glob("cut.weights.h5@*/epoch-*"))
    Path("classes.csv").write_text("class,meta_class\nc,y\na,x\nb,x\n")
    for name in ("cut", "whole"):
        assert run(*command(name)).returncode == 0
    expected, found = weights("whole.weights.h5"), weights("cut.weights.h5")
    assert expected.keys() == found.keys() and all((found[name] == expected[name]).all() for name in expected)


DEMO = {
    "train-audio-spectrogram@mel": [],
    "train-audio-embedding@Cnn14": [],
    "train-visual-image@MobileNetV2": [],
    "train-audio-visual@MobileNetV2": ["train-audio-spectrogram@mel", "train-visual-image@MobileNetV2"],
    "train-dcase-baseline@audio": [],
    "train-dcase-baseline@visual": [],
    "train-dcase-baseline@official": ["train-dcase-baseline@audio", "train-dcase-baseline@visual"],
}


class KilledError(BaseException):
    """Nothing catches it."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """Eight clips with random features, where the demo has its own."""
    folder, generator = tmp_path_factory.mktemp("demo"), np.random.default_rng(0)
    features = {
        "spectrogram/mel": generator.standard_normal((8, 2, 128, 704)).astype(np.float16),
        "frames": generator.integers(0, 256, (8, 10, 64, 64, 3), np.uint8),
        **{name: generator.standard_normal((8, 10, 32)).astype(np.float32)
           for name in ("audio_embedding/Cnn14", "openl3/audio", "openl3/visual")},
    }  # fmt: skip
    for name, array in features.items():
        (folder / f"data/{name}.npy").parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"data/{name}.npy", array)
    rows = [f"c{i},{'abc'[i % 3]},x,{i},{'train' if i < 6 else 'validation'},a.wav,v.mp4" for i in range(8)]
    (folder / "data/split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    (folder / "data/classes.csv").write_text("class,meta_class\na,x\nb,x\nc,y\n")
    return folder


@pytest.fixture(scope="module")
def commands() -> dict[str, list[str]]:
    """The demo's command of each stage, its words from the script on, with fewer steps."""
    with Repo(ROOT) as repo:
        found = {stage.addressing: shlex.split(stage.cmd) for stage in repo.index.stages if stage.addressing in DEMO}
    for words, (option, value) in itertools.product(found.values(), {"--epochs": "2", "--seconds": "2"}.items()):
        if option in words:
            words[words.index(option) + 1] = value
    return {name: words[words.index("python") + 1 :] for name, words in found.items()}


def train(words: list[str], folder: Path, monkeypatch, kill_at: int | None = None) -> list[int]:
    """Train, perhaps up to an epoch's start, and return the epochs that were begun."""
    begun, shuffle = [], MixedBatches.shuffle

    def counted(batches: MixedBatches, epoch: int) -> None:
        if epoch == kill_at:
            raise KilledError
        begun.append(epoch)
        shuffle(batches, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(MixedBatches, "shuffle", counted)
        result = run(Path(words[0]).name, *words[1:], folder=folder)
    assert result.returncode == 0 and "warning" not in result.stderr, result.stderr
    return begun[1:]  # the first is the batches' own


@pytest.mark.parametrize("stage", DEMO)
def test_a_killed_training_of_the_demo_goes_on_to_the_same_weights(stage, demo, commands, monkeypatch):
    """With the parameters of params.yaml, among them dropout of rate 0."""
    words = commands[stage]
    for single in DEMO[stage]:
        if not (demo / model(commands[single])).exists():
            train(commands[single], demo, monkeypatch)
    assert train(words, demo, monkeypatch) == [0, 1]
    expected = weights(demo / model(words))
    (demo / model(words)).unlink()
    with pytest.raises(KilledError):
        train(words, demo, monkeypatch, kill_at=1)
    assert not (demo / model(words)).exists()
    assert train(words, demo, monkeypatch) == [1]
    found = weights(demo / model(words))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


def model(words: list[str]) -> str:
    """The weights that a command writes: the last that it names."""
    return [word for word in words if word.endswith(".weights.h5")][-1]


def weights(path: str | Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays
