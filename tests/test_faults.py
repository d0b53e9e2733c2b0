"""What goes wrong around the pipeline: the rows of the README's table of faults that no other test file has.

Full disks are real ones, of a few kilobytes, mounted in a namespace of the process' own; where the system forbids that,
those tests are skipped, and the ones that make a write fail otherwise remain.
"""

import errno
import importlib
import inspect
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import typing
import warnings
from pathlib import Path

import av
import embed_audio
import made_up
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, noise, run, write_mp4, write_setup, write_wav
from hypothesis import given
from hypothesis import strategies as st

from scenes.dataset import shards
from scenes.dataset.tables import parse_classes, read_setup, read_table
from scenes.dataset.weights import fetch
from scenes.media.clip import read_audio, read_frames
from scenes.stage.errors import InputError, MediaWarning
from scenes.stage.outputs import allocate_array, write_array

PYTHON = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "KERAS_BACKEND": "torch"}
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def mounts() -> bool:
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


def said(result: subprocess.CompletedProcess, code: int = 1) -> str:
    """The last line of standard error of a script that failed."""
    assert result.returncode == code, result.stderr
    return result.stderr.splitlines()[-1]


# Bad input


def test_frames_without_times_are_taken_at_their_rate():
    """A bare H.264 stream has none."""
    with av.open("a.mp4", "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    with pytest.warns(MediaWarning, match="video has no timestamps, assuming 25 frames per second"):
        read_frames("a.mp4", 32)


def test_a_damaged_sample_rate_is_refused():
    header = bytearray(write_wav(Path("a.wav"), noise(0.1)).read_bytes())
    for rate in (1, 2_000_000_000):
        header[24:28] = rate.to_bytes(4, "little")
        Path("b.wav").write_bytes(header)
        with pytest.raises(InputError, match="^b.wav: sample rate is "):
            read_audio("b.wav", 48_000)


def test_a_table_that_is_none_or_lacks_a_column_is_named():
    Path("a.csv").write_bytes(b"")
    with pytest.raises(InputError, match="^a.csv: not a table"):
        read_table(Path("a.csv"), ["clip"])
    Path("a.csv").write_text("clip,x\n1,2\n")
    with pytest.raises(InputError, match="^a.csv: the columns of a table must be clip, found clip, x"):
        read_table(Path("a.csv"), ["clip"])
    with pytest.raises(InputError, match="^a.csv: a table without the column audio, with clip, x"):
        read_table(Path("a.csv"), ["audio"], more=True)


WAVS = [(noise(0.01), "PCM_24"), (noise(0.01, channels=1), "FLOAT")]
damage = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=8)


@given(kind=st.integers(0, 1), damage=damage, cut=st.one_of(st.none(), st.integers(0, 400)))
def test_a_damaged_wav_is_read_or_refused_in_one_line(kind, damage, cut):
    sound, subtype = WAVS[kind]
    content = bytearray(write_wav(Path("a.wav"), sound, subtype=subtype).read_bytes()[:cut])
    for place, value in damage:
        content[place : place + 1] = bytes([value])
    Path("a.wav").write_bytes(content)
    with warnings.catch_warnings(action="ignore"):
        try:
            read = read_audio("a.wav", 48_000)
        except InputError as error:
            assert str(error).startswith("a.wav: ") and "\n" not in str(error)
        else:
            assert read.shape == (2, 480_000) and np.isfinite(read).all()


edits = st.lists(st.tuples(st.integers(0, 140), st.binary(max_size=3) | st.sampled_from(list('\t\n\r",-/\0 '))))


@given(edits=edits)
def test_a_damaged_setup_file_is_read_or_refused_in_one_line(edits):
    path = write_setup(Path("s"), ["bus-oslo-1-1", "park-oslo-2-2"], ["bus-riga-3-3"]) / "fold1_train.csv"
    content = bytearray(path.read_bytes())
    for place, value in edits:
        content[place : place + 1] = value if isinstance(value, bytes) else value.encode()
    path.write_bytes(content)
    try:
        table = read_setup(Path("s"), parse_classes(["bus:transportation", "park:outdoor"]))
    except InputError as error:
        assert str(error).startswith("s/fold1_") and "\n" not in str(error)
    else:
        assert table.map(lambda field: isinstance(field, str) and field.isprintable()).all(axis=None)
        assert table["scene"].isin(["bus", "park"]).all() and table["clip"].is_unique
        assert not table["audio"].str.contains("/").any()


# Options


@pytest.mark.parametrize(
    ("script", "option", "message"),
    [
        ("frames.py a b", "--size 31", "--size 31: must be a whole number from 32 to 2048"),
        ("frames.py a b", "--size big", "--size big: must be a whole number from 32 to 2048"),
        ("frames.py a b", "--size 40 --size 50", "--size: given 2 times, must be a single value"),
        ("frames.py a b", "--pixels 40", "No such option: --pixels"),
        ("spectrogram.py mel a b", "--hop 0", "--hop 0: must be a whole number from 16 to 192000"),
        ("spectrogram.py mel a b", "--log_offset 0", "--log-offset 0: must be from 1e-30 to 1.0"),
        ("spectrogram.py mel a b", "--fmin nan", "--fmin nan: must be from 0.0 to 96000.0"),
        ("spectrogram.py mel a b", "--strict maybe", "--strict maybe: must be true or false in params.yaml"),
        ("split.py a b c d --audio a --video b --setup c", "--validation 1", "--validation 1: must be from 0.0 to 0.9"),
        ("split.py a b c d --audio a --video b --setup c", "--missing no", "'no' is not one of 'error', 'skip', 'ign"),
        ("split.py a b c d --audio a --video b --setup c", "--seed -1", "--seed -1: must be a whole number from 0 to"),
        ("synthesize.py a", "--fps 0", "--fps 0: must be a whole number from 1 to 120"),
        ("embed_audio.py a b --network Cnn14", "--precision half", "--precision half: write float32 or bfloat16"),
        (
            "embed_audio.py a b --network Cnn14",
            "--precision auto",
            "--precision auto: write float32 or bfloat16; what the machine can do no longer decides it",
        ),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_what_is_allowed(script, option, message):
    result = run(*script.split(), *option.split())
    assert said(result, code=2).startswith("error: ") and message in result.stderr and result.stderr.count("\n") == 1


def test_every_number_has_a_range():
    unbounded = []
    for path in (ROOT / "stages").glob("*.py"):
        module = importlib.import_module(path.stem)
        for name, command in inspect.getmembers(module, inspect.isfunction):
            if command.__module__ != path.stem or name.startswith("_"):
                continue
            for option, hint in typing.get_type_hints(command, include_extras=True).items():
                info = getattr(hint, "__metadata__", [None])[0]
                number = getattr(hint, "__origin__", hint) in (int, float, list[int], list[float])
                if number and None in (getattr(info, "min", None), getattr(info, "max", None)):
                    unbounded.append(f"{path.stem}.{name}.{option}")
    # plan() and make() of synthesize.py are no commands.
    assert [name for name in unbounded if not name.startswith(("synthesize.plan", "synthesize.make"))] == []


# Files of another run


def small_run() -> None:
    """A table of clips, embeddings, and an MLP of one epoch on them."""
    made_up.write_split(20, 10)
    split = pd.read_csv("split.csv")
    split.assign(fold=["train", "evaluate"] * 10).to_csv("split.csv", index=False)
    np.save("e.npy", np.random.default_rng(0).standard_normal((20, 10, 8)).astype(np.float32))


MLP = ["--widths", "4"]
TRAIN = ["train_embedding.py", "audio-embedding", "split.csv", "classes.csv", "e.npy", "m.weights.h5", "h.csv", *MLP,
         "--epochs", "1"]  # fmt: skip
PREDICT = ["predict.py", "audio-embedding", *TRAIN[2:6], "p.npy", "c.csv", "m.json"]


def test_a_model_of_other_params_or_cut_off_is_refused():
    """In this process, which has Keras loaded after the first of the tests."""
    import predict

    from scenes.classifiers.mlp import Options, mlp

    small_run()
    mlp(8, 10, [4], 0.0).save_weights("m.weights.h5")
    content = Path("m.weights.h5").read_bytes()
    split, classes, features, *others = [Path(name) for name in PREDICT[2:]]
    command, arguments = predict.COMMANDS["audio_embedding"], (split, classes, [features], *others)
    line = "^m.weights.h5: truncated, or of other parameters; train it again with these"
    with pytest.raises(InputError, match=line):
        command(*arguments, Options([5]))
    Path("m.weights.h5").write_bytes(content[:5000])
    with pytest.raises(InputError, match=line):
        command(*arguments, Options([4]))
    Path("m.weights.h5").unlink()
    with pytest.raises(FileNotFoundError):
        command(*arguments, Options([4]))
    assert not list(Path().glob("[pc].*"))


def test_a_train_clip_of_an_unknown_class_is_refused():
    import train_embedding

    from scenes.classifiers.mlp import Options
    from scenes.learning.training import Recipe

    small_run()
    Path("classes.csv").write_text("class,meta_class\nbus,transportation\npark,outdoor\n")
    with pytest.raises(InputError, match="class 'airport' of airport-.* is not among bus, park"):
        train_embedding.main("audio-embedding", *map(Path, TRAIN[2:7]), Options([4]), Recipe(epochs=1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.full((5, 10, 10), 0.1, np.float32), "p.npy: shape (5, 10, 10), expected (10, 10, 10)"),
        (np.full((10, 10, 9), 1 / 9, np.float32), "p.npy: shape (10, 10, 9), expected (10, 10, 10)"),
        (np.ones((10, 10, 10), np.float32), "p.npy: holds other numbers than probabilities"),
    ],
)
def test_predictions_of_another_split_or_of_something_else_are_refused(wrong, message):
    small_run()
    np.save("p.npy", wrong)
    result = run("fuse.py", "split.csv", "classes.csv", "f-{rule}.npy", "c-{rule}.csv", "m-{rule}.json", "p.npy",
                 "--weights", "w.csv")  # fmt: skip
    assert said(result).startswith(f"error: {message}") and not list(Path().glob("f-*"))


def test_a_checkpoint_of_another_hash_is_refused():
    Path("x.pth").write_bytes(b"weights of somebody else")
    Path("media.csv").write_text("clip,audio\n")
    with pytest.raises(InputError, match="^x.pth: MD5 is .*, expected 541141fa2ee191a88f24a3219fff024e"):
        embed_audio.main(Path("media.csv"), Path("o.npy"), "Cnn14", weights=Path("x.pth"))


# A full disk


DISKS = """
import json, os, subprocess, sys
from pathlib import Path
sys.path[:0] = [{stages!r}, {tests!r}]
from conftest import run
from scenes.classifiers import image_networks
from scenes.learning.backend import keras

def small(name, size, pretrained, weights="none"):  # in place of a large network
    x = inputs = keras.Input((size, size, 3))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x)))

image_networks.extractor = small
for size, folder, arguments, _ in json.loads(sys.argv[1]):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={{size or '4k'}}", "none", "full"], check=True)
    if not size:
        Path("full/h.csv").write_bytes(bytes(4096))
    result = run(*arguments.split(), folder=folder)
    print(json.dumps([result.returncode, result.stderr, os.listdir("full")]))
"""
FULL = [  # of this size, or of a page that is taken: the script in this folder names
    ("16k", ".", "synthesize.py full/clips --train 1 --evaluate 1 --fps 1 --width 64 --height 64", "full/clips"),
    ("4k", ".", "split.py full/split.csv full/m.csv full/c.csv full/s.json --audio a --video v --setup s"
     " --classes bus:x --missing ignore", "full/"),
    # Written through the memory map, it would end in SIGBUS.
    ("256k", "full", "frames.py ../media.csv o.npy --size 64", ".resume/o.npy"),
    ("4k", ".", "fuse.py split.csv classes.csv full/{rule}.npy full/{rule}.csv full/{rule}.json p.npy --weights w.csv",
     "full/"),
    ("", ".", "early_detect.py split.csv classes.csv full/e.csv full/e.json mel=p.npy", "full/e.csv"),
    ("4k", ".", "report.py split.csv classes.csv e.csv seeds.csv full/README.md full/{figure}.svg full/{table}.csv"
     " {classifier}.npy visual_image/p --fused {ensemble}-{rule} --history {classifier} --setup s --weights w"
     " --calibrate c --early-exit e --early-exit-chosen h --early-exit-classes k --disturbed d --needs n", "full/"),
    ("", ".", "calibrate.py split.csv classes.csv full/c.csv full/c.json p.npy", "full/c.csv"),
    ("", ".", "submission.py write split.csv classes.csv f.npy full/submission.csv", "full/submission.csv"),
    ("", ".", "seeds.py experiments.json full/seeds.csv", "full/seeds.csv"),
    # Training has its state elsewhere: only the last step finds no room, and is repeated alone.
    ("", ".", "train_embedding.py audio-embedding split.csv classes.csv e.npy full/m.weights.h5 full/h.csv --widths 4"
     " --epochs 1", "full/h.csv"),
    ("", ".", "train_spectrogram.py split.csv classes.csv s.npy full/m.weights.h5 full/h.csv --epochs 1 --seconds 1"
     " --dense 2 --widths 1 --widths 1 --widths 1 --widths 1", "full/h.csv"),
    ("", ".", "train_image.py split.csv classes.csv frames.npy full/m.weights.h5 full/h.csv --network MobileNetV2"
     " --size 32 --no-pretrained --epochs 1 --seconds 1", "full/h.csv"),
    ("", ".", "predict.py audio-embedding split.csv classes.csv e.npy m.weights.h5 full/p.npy full/c.csv full/m.json"
     " --widths 4", "full/p.npy"),
]  # fmt: skip


@pytest.mark.skipif(not mounts(), reason="this system lets no user mount a small disk")
def test_a_full_disk_is_named_and_nothing_is_left():
    """All scripts in one process: each alone would load for seconds."""
    small_run()
    write_setup(Path("s"), [f"bus-oslo-{i}-{i}" for i in range(200)], ["bus-riga-90-1"])
    probabilities = made_up.probabilities(np.arange(10) % 10, 0, (10,))
    Path("visual_image").mkdir()
    for path in ("p.npy", "visual_image/p.npy"):
        np.save(path, probabilities)
    np.save("f.npy", probabilities.mean(axis=1))
    np.save("s.npy", np.zeros((20, 2, 16, 704), np.float16))
    np.save("frames.npy", np.zeros((20, 10, 32, 32, 3), np.uint8))
    assert run(*TRAIN).returncode == 0
    Path("a.mp4").touch()
    Path("media.csv").write_text("clip,video\n" + 64 * "a,../a.mp4\n")
    Path("e.csv").write_text("framework,seconds,accuracy,log_loss\nmel,1,0.5,1\nmel,10,0.5,1\n")
    Path("seeds.csv").write_text("framework,seed,accuracy\n")
    data = {
        "params": {"params.yaml": {"data": {"seed": 1}}},
        "metrics": {"metrics/a/b.json": {"data": {"accuracy": 1}}},
    }
    Path("experiments.json").write_text(json.dumps([{"data": data, "experiments": None}]))
    Path("full").mkdir()
    source = DISKS.format(stages=str(ROOT / "stages"), tests=str(ROOT / "tests"))
    command = [*NAMESPACE, sys.executable, "-c", source, json.dumps(FULL)]
    result = subprocess.run(command, capture_output=True, text=True, env=PYTHON)
    assert result.returncode == 0, result.stderr
    for (*_, script, named), line in zip(FULL, result.stdout.splitlines(), strict=True):
        code, error, left = json.loads(line)
        error = error.splitlines()[-1]
        paths = tuple(f"error: {path}" for path in (named, Path(named).absolute()))  # a temporary folder's from 3.12 on
        assert code == 1 and error.startswith(paths) and "cannot be written" in error, (script, error)
        assert "MB are free there" in error and not [name for name in left if "unfinished" in name or name == "clips"]


def test_room_is_taken_at_once(monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    allocate_array(Path("a.npy"), (1000, 1000), "float32")
    assert Path("a.npy").stat().st_blocks * 512 >= 4_000_000 and not np.load("a.npy").any()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"^b.npy: cannot be written \(No space left on device\); [\d,.]+ MB are free"):
        allocate_array(Path("b.npy"), (3,), "float32")
    assert not list(Path().glob("*b.npy"))


def test_a_write_that_fails_otherwise_names_the_file_too():
    """A limit of the size of a file, as some batch systems set; NumPy's message would name no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(InputError, match=r"^a.npy: cannot be written \("):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
            write_array(Path("a.npy"), np.zeros(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(Path().glob("*.npy"))
    Path("nowhere").touch()
    with pytest.raises(InputError, match="^nowhere/a.npy: cannot be written"):
        write_array(Path("nowhere/a.npy"), np.zeros(1))


def test_a_download_that_finds_no_room_names_the_file(monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scenes.dataset.transfer._continue", full)
    with pytest.raises(InputError, match=r"^cache/a.pth: cannot be written \(No space left on device\)"):
        fetch("http://127.0.0.1:9/a.pth", Path("cache/a.pth"), None, 1.0)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_the_output_may_be_on_another_disk_than_the_scratch_folder(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("SCENES_BACKEND", "sequential")
    folder = Path("/dev/shm") / tmp_path_factory.getbasetemp().name
    try:
        shards.map_clips(float, ["1", "2"], (1,), "float32", folder / "o.npy", [])
        assert os.stat(folder).st_dev != os.stat(".").st_dev and np.load(folder / "o.npy").ravel().tolist() == [1, 2]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Signals


def processes(session: int) -> list[str]:
    rows = subprocess.run(["ps", "-eo", "sess=,stat=,args="], capture_output=True, text=True).stdout.splitlines()
    return [row for row in rows if row.split()[0] == str(session) and row.split()[1][0] != "Z"]


@pytest.mark.parametrize(
    ("number", "whole_job"), [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)]
)
def test_a_stopped_extraction_ends_in_one_line_with_its_workers(number, whole_job):
    """Ctrl-C reaches every process of a terminal's job, `kill` one, and a batch system may send to all."""
    write_mp4(Path("a.mp4"))
    Path("media.csv").write_text("clip,video\n" + "".join(f"{i},a.mp4\n" for i in range(64)))
    command = [sys.executable, ROOT / "stages/frames.py", "media.csv", "o.npy", "--size", "32"]
    environment = {**PYTHON, "SCENES_WORKERS": "2"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    while process.poll() is None and not any(path.read_text() for path in Path().glob(".resume/*/done")):
        time.sleep(0.01)
    (os.killpg if whole_job else os.kill)(process.pid, number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, error
    assert error.splitlines()[-1] == f"interrupted ({number.name}); rerun to resume" and "Traceback" not in error
    assert not Path("o.npy").exists() and not list(Path().glob("unfinished*"))
    finished = sum(len(path.read_text().split()) for path in Path().glob(".resume/*/done"))
    assert 1 <= finished < 8
    for _ in range(100):
        if not processes(process.pid):
            break
        time.sleep(0.1)
    assert not processes(process.pid)


def test_a_stopped_training_ends_in_one_line():
    small_run()
    process = subprocess.Popen(
        [sys.executable, ROOT / "stages" / TRAIN[0], *TRAIN[1:-1], "100000"], stderr=subprocess.PIPE, env=PYTHON,
        text=True,
    )  # fmt: skip
    while process.poll() is None and not list(Path().glob(".resume/*/epoch-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "Traceback" not in error, error
    assert error.splitlines()[-1] == "interrupted (SIGTERM); rerun to resume"
    assert not Path("m.weights.h5").exists() and not list(Path().rglob("unfinished*"))


def test_a_signal_that_comes_while_an_object_is_freed_is_kept_for_the_next_step():
    code = (
        "import os, signal\n"
        "from scenes.stage.cli import run, stop_if_asked\n"
        "class Freed:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGTERM); sum(range(1000))\n"
        "def main():\n"
        "    Freed()\n"
        "    print('went on', flush=True)\n"
        "    stop_if_asked()\n"
        "run(main)\n"
    )
    environment = {**PYTHON, "PYTHONPATH": str(ROOT / "stages")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (143, "went on\n")
    assert ended.stderr == "interrupted (SIGTERM); rerun to resume\n"


def test_a_worker_that_the_system_kills_is_named(monkeypatch):
    monkeypatch.setenv("SCENES_WORKERS", "2")
    monkeypatch.setattr(shards, "SHARD", 1)
    with pytest.raises(InputError, match="a worker was killed, likely for want of memory; .*SCENES_WORKERS=1"):
        # A function of this module would have the workers import all of it.
        shards.map_clips(lambda _: os.kill(os.getpid(), 9), ["1", "2"], (1,), "float32", Path("o.npy"), [])


@pytest.mark.parametrize(
    ("variable", "value"), [("SCENES_WORKERS", "many"), ("SCENES_WORKERS", "0"), ("SCENES_BACKEND", "slurm")]
)
def test_a_variable_that_says_nothing_sensible_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=f"^{variable}: '{value}' is not "):
        shards.map_clips(float, ["1"], (1,), "float32", Path("o.npy"), [])


# DVC


@pytest.fixture
def pipeline(tmp_path) -> Path:
    """A pipeline of one slow stage, with this project's settings of DVC."""
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, check=True, env=PYTHON)
    shutil.copy(ROOT / ".dvc/config", ".dvc/config")
    wait = "echo run >> runs; touch started; while [ -e wait ]; do sleep 0.05; done; echo result > out"
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"slow": {"cmd": wait, "outs": ["out"]}}}))
    return tmp_path


def dvc(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["dvc", *arguments], capture_output=True, text=True, env=PYTHON)


@pytest.mark.slow
def test_a_second_repro_at_once_is_refused(pipeline):
    Path("wait").touch()
    first = subprocess.Popen(["dvc", "repro"], env=PYTHON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while first.poll() is None and not Path("started").exists():
        time.sleep(0.05)
    second = dvc("repro")
    Path("wait").unlink()
    assert second.returncode != 0 and "out' is busy" in second.stderr, second.stderr
    assert first.wait() == 0 and Path("out").read_text() == "result\n" and Path("runs").read_text() == "run\n"


@pytest.mark.slow
def test_a_corrupted_cache_file_is_noticed_and_made_anew(pipeline):
    assert dvc("repro").returncode == 0
    (cached,) = Path(".dvc/cache/files").glob("*/*/*")
    cached.chmod(0o644)  # DVC protects it from all but intent
    cached.write_text("rotten\n")
    result = dvc("repro")
    assert result.returncode == 0, result.stderr
    assert Path("out").read_text() == "result\n" and Path("runs").read_text() == "run\nrun\n"
