"""The extraction scripts: good clips become rows, bad ones one clear line; finished work survives a failure."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, run, write_mp4, write_wav

from scenes.dataset import shards
from scenes.evaluation.needs import read_needs
from scenes.features.spectrogram import gam, mel
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError


def write_media(**columns: list[str]) -> None:
    rows = [
        "clip," + ",".join(columns),
        *(f"{i},{','.join(row)}" for i, row in enumerate(zip(*columns.values(), strict=True))),
    ]
    Path("media.csv").write_text("\n".join(rows) + "\n")


def test_spectrograms_of_clips_with_and_without_sound(tmp_path):
    write_wav(Path("a.wav"), noise())
    write_wav(Path("mono.wav"), noise(channels=1))
    write_media(audio=["a.wav", "", "mono.wav"])
    result = run("spectrogram.py", "mel", "media.csv", "out/mel.npy", "--fmin", "50")
    assert result.returncode == 0, result.stderr
    assert "warning: 1 clips: mono audio, duplicated to two channels (the first: mono.wav)" in result.stderr
    array = np.load("out/mel.npy", mmap_mode="r")
    assert array.shape == (3, 2, 128, 704) and array.dtype == np.float16
    assert not array[1].any()
    np.testing.assert_array_equal(array[2, 0], array[2, 1])
    np.testing.assert_array_equal(array[0], mel(read_audio("a.wav", 48_000), fmin=50.0).astype(np.float16))
    assert [path.name for path in Path("out").iterdir()] == ["mel.npy"] and not list(Path(".resume").iterdir())


def test_a_finer_hop_spans_the_clip_and_says_how_much_of_it_each_patch_needs():
    write_wav(Path("a.wav"), noise())
    write_media(audio=["a.wav"])
    for kind, options in {"mel": ["--hop", "336"], "gam": [], "cqt": []}.items():
        result = run("spectrogram.py", kind, "media.csv", f"{kind}.npy", *options, "--needs", f"{kind}.needs.csv")
        assert result.returncode == 0, result.stderr
    array = np.load("mel.npy")
    assert array.shape == (1, 2, 128, 1408)
    np.testing.assert_array_equal(array[0], mel(read_audio("a.wav", 48_000), hop=336, frames=1408).astype(np.float16))
    first = {kind: read_needs(Path(f"{kind}.needs.csv"))[0] for kind in ("mel", "gam", "cqt")}
    assert first == pytest.approx({"mel": 1.86, "gam": 1.89, "cqt": 3.58}, abs=0.005)
    Path("mel.needs.csv").write_text("second,needs\n1,1.89\n")
    with pytest.raises(InputError, match="^mel.needs.csv: must have a row for each of 10 seconds"):
        read_needs(Path("mel.needs.csv"))


def test_strict_spectrograms_hear_one_second_each_of_the_clips_not_in_train():
    sound = noise().astype(np.float32)
    write_wav(Path("a.wav"), sound)
    rows = ["a,bus,x,1,train,a.wav,", "b,bus,x,2,evaluate,a.wav,", "c,bus,x,2,evaluate,,c.mp4"]
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    result = run("spectrogram.py", "mel", "split.csv", "mel.strict.npy", "--strict")
    assert result.returncode == 0, result.stderr
    array = np.load("mel.strict.npy")
    assert array.shape == (2, 10, 2, 128, 72) and array.dtype == np.float16 and not array[1].any()
    second = read_audio("a.wav", 48_000)[:, 7 * 48_000 : 8 * 48_000]
    np.testing.assert_array_equal(array[0, 7], mel(second, frames=72).astype(np.float16))


def test_frames_of_clips_with_and_without_pictures():
    write_mp4(Path("a.mp4"))
    write_media(audio=["", ""], video=["", "a.mp4"])
    result = run("frames.py", "media.csv", "frames.npy", "--size", "40")
    assert result.returncode == 0, result.stderr
    frames = np.load("frames.npy", mmap_mode="r")
    assert frames.shape == (2, 10, 40, 40, 3) and frames.dtype == np.uint8
    assert not frames[0].any() and frames[1].any()


@pytest.mark.parametrize(
    ("path", "message"),
    [("empty.wav", "error: empty.wav: empty file"), ("missing.wav", "error: missing.wav: No such file or directory")],
)
def test_a_bad_file_ends_in_one_line_and_leaves_nothing(path, message):
    Path("empty.wav").touch()
    write_wav(Path("a.wav"), noise())
    write_media(audio=["a.wav", path])
    result = run("spectrogram.py", "mel", "media.csv", "mel.npy")
    assert result.returncode == 1 and result.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in result.stderr and not Path("mel.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mel", "media.csv", "o.npy", "--fmax", "30000"], "error: fmax is 30000.0 Hz, above half the sample rate"),
        (["cqt", "media.csv", "o.npy", "--fmin", "0"], "error: fmin is 0.0 Hz, must be positive"),
        (["gam", "media.csv", "o.npy", "--hop", "6720"], "error: hop is 6720 samples at 48000 Hz, 8 frames a second"),
        (["mel", "other.csv", "o.npy"], "error: other.csv: a table without the column audio"),
        (["mel", "no.csv", "o.npy"], "error: no.csv: No such file or directory"),
    ],
)
def test_a_bad_parameter_ends_in_one_line(arguments, message):
    write_media(audio=[])
    Path("other.csv").write_text("clip\n")
    result = run("spectrogram.py", *arguments)
    assert result.returncode == 1 and result.stderr.startswith(message) and len(result.stderr.splitlines()) == 1


def count_and_fail(path: str, fail: bool) -> np.ndarray:
    with open("calls", "a") as file:
        file.write(path + "\n")
    if fail and path == "9":
        raise InputError("9: broken")
    return np.full(2, float(path))


@pytest.mark.parametrize("changed", [False, True])
def test_finished_shards_survive_a_failure_unless_an_input_changed(monkeypatch, changed):
    monkeypatch.setenv("SCENES_BACKEND", "sequential")
    monkeypatch.setattr(shards, "SHARD", 4)
    media = [str(number) for number in range(10)]
    inputs = [Path(name) for name in media]
    for path in inputs:
        path.touch()
    with pytest.raises(InputError):
        shards.map_clips(partial(count_and_fail, fail=True), media, (2,), "float32", Path("out.npy"), inputs)
    assert not Path("out.npy").exists()
    Path("calls").unlink()
    if changed:
        Path("0").write_text("another clip")
    shards.map_clips(partial(count_and_fail, fail=False), media, (2,), "float32", Path("out.npy"), inputs)
    np.testing.assert_array_equal(np.load("out.npy")[:, 1], np.arange(10))
    assert Path("calls").read_text().split() == (media if changed else ["8", "9"])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("array.npy", b""),
        ("array.npy", b"\x93NUMPY"),
        ("array.npy", None),  # half of it
        ("done", b"0\nfour\n"),
        ("done", b"\xff\n"),
    ],
)
def test_damaged_shards_are_read_again_with_one_warning(file, content, monkeypatch, capfd):
    monkeypatch.setenv("SCENES_BACKEND", "sequential")
    monkeypatch.setattr(shards, "SHARD", 4)
    media = [str(number) for number in range(10)]
    with pytest.raises(InputError):
        shards.map_clips(partial(count_and_fail, fail=True), media, (2,), "float32", Path("out.npy"), [])
    (path,) = Path(".resume").glob(f"*/{file}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    capfd.readouterr()
    shards.map_clips(partial(count_and_fail, fail=False), media, (2,), "float32", Path("out.npy"), [])
    np.testing.assert_array_equal(np.load("out.npy")[:, 1], np.arange(10))
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert line.startswith("warning: .resume/out.npy@") and line.endswith(": damaged; the extraction starts again")


def test_workers_give_the_same_as_one_process(monkeypatch):
    monkeypatch.setenv("SCENES_WORKERS", "2")
    monkeypatch.setattr(shards, "SHARD", 2)
    write_wav(Path("a.wav"), noise())
    for backend in ("loky", "sequential"):
        monkeypatch.setenv("SCENES_BACKEND", backend)
        shards.map_clips(transformed, ["a.wav"] * 3, (2, 128, 704), "float16", Path(f"{backend}.npy"), [Path("a.wav")])
    assert Path("loky.npy").read_bytes() == Path("sequential.npy").read_bytes()


def transformed(path: str) -> np.ndarray:
    return gam(read_audio(path, 48_000))
