"""One's own films and recordings: the numbers of `predict`, and odd files."""

import json
import os
import re
import resource
import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import noise, run, write_mp4, write_wav
from dvc.parsing.interpolate import to_str
from network_inputs import made, patches
from trained import CLASSES, MEMBERS, finished_run, join

from scenes.app.members import Run, _hold, load, members_of, read_run
from scenes.app.timeline import follow
from scenes.classifiers.mlp import mlp
from scenes.evaluation.fusion import prod
from scenes.evaluation.needs import read_needs
from scenes.learning.backend import keras
from scenes.media.clip import read_audio, read_frames
from scenes.media.stream import windows
from scenes.stage.errors import InputError, one_line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("checkout") / "run")


@pytest.fixture(scope="module")
def members(trained):
    return load(read_run(trained), MEMBERS)


def test_an_untrained_embedding_is_that_of_its_stage(trained):
    """Its seed and its batch norm's averages are."""
    run_of, clip = read_run(trained), trained / "data/demo/clips/audio/park-lyon-2-2.wav"
    inputs = {"audio": read_audio(clip, 48_000), "visual": np.load(trained / "data/frames.npy")[1]}
    options = {
        "audio": ["data/media.csv", "a.npy", "--network", "MobileNetV1"],
        "visual": ["data/media.csv", "data/frames.npy", "v.npy", "--network", "MobileNetV2", "--size", "32"],
    }
    for family, name, dimension in (("audio", "MobileNetV1", 1024), ("visual", "MobileNetV2", 1280)):
        model = trained / f"data/models/{family}_embedding/{name}.weights.h5"
        model.parent.mkdir(parents=True)
        mlp(dimension, len(CLASSES), **run_of.params["mlp"]).save_weights(model)
        (member,) = load(run_of, [f"{family}_embedding/{name}"])
        result = run(f"embed_{family}.py", *options[family], "--no-pretrained", folder=trained)
        assert result.returncode == 0, result.stderr
        expected = np.load(trained / f"{family[0]}.npy")[1]
        np.testing.assert_allclose(member.inputs(inputs[family]), expected, rtol=1e-3, atol=1e-4)


def test_weights_are_looked_for_in_the_checkout(trained):
    """A relative path in params.yaml, whatever the current folder is."""
    run_of = read_run(trained)
    for section, network in (("audio", "MobileNetV1"), ("visual", "MobileNetV2")):
        numbers = {**run_of.params[section][network], "pretrained": True, "weights": "my/own.h5"}
        changed = run_of._replace(params={**run_of.params, section: {network: numbers}})
        model = trained / f"data/models/{section}_embedding/{network}.weights.h5"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.touch()
        with pytest.raises((InputError, FileNotFoundError), match=f"{trained}/my/own.h5"):
            load(changed, [f"{section}_embedding/{network}"])


def classify(trained: Path, *arguments) -> subprocess.CompletedProcess:
    options = [word for name in MEMBERS for word in ("--member", name)]
    return run("classify.py", *arguments, *options, "--checkout", trained)


def last(path, members, until=None, audio=None):
    *_, timeline = follow(str(path), audio, members, CLASSES, "prod", 40, until)
    return timeline


def test_a_clip_of_the_data_set_has_its_predictions(trained):
    clips = trained / "data/demo/clips"
    film = clips / "video/park-lyon-2-2.mp4"
    result = classify(
        trained, film, "--audio", clips / "audio/park-lyon-2-2.wav", "--json", "a.json", "--csv", "a.csv",
        "--figure", "a.png",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Trained on synthetic clips")
    assert result.stdout.count("0:00:0") == 10
    said = json.loads(Path("a.json").read_text())["files"][0]
    expected = np.stack([np.load(trained / f"data/predictions/{name}.npy")[1] for name in MEMBERS])
    assert (np.ptp(expected, axis=1).max(axis=-1) > 1e-3).all()  # or those of other seconds would do as well
    for name, seconds in zip(MEMBERS, expected, strict=True):
        np.testing.assert_allclose(said["members"][name]["seconds"], seconds, atol=1e-5)
    np.testing.assert_allclose(said["probabilities"], prod(expected.mean(axis=1)), atol=1e-5)
    np.testing.assert_allclose(said["seconds"], prod(expected), atol=1e-5)
    assert len(Path("a.csv").read_text().splitlines()) == 11 and Path("a.png").stat().st_size > 10_000


def test_the_network_of_both_modalities_has_its_predictions(trained, tmp_path):
    name = join(trained)
    run = read_run(trained)
    assert members_of(run, "all_models_joint") == [*members_of(run, "all_models"), name]
    (member,) = members = load(run, [name])
    clips = trained / "data/demo/clips"
    said = last(clips / "video/park-lyon-2-2.mp4", members, audio=str(clips / "audio/park-lyon-2-2.wav"))
    expected = np.load(trained / f"data/predictions/{name}.npy")[1]
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(said.members[0], expected, atol=1e-5)
    # It waits for both, and does not speak where it has one.
    np.testing.assert_array_equal(np.ceil(member.needs), [*range(2, 11), 10])
    early = last(clips / "video/bus-lyon-1-1.mp4", members, until=0.01)
    assert early.members.shape[1] == 1 and early.read == 2
    both = load(run, [name, MEMBERS[1]])
    assert last(write_mp4(tmp_path / "mute.mp4", sound=False), both).silent() == [name]
    with pytest.raises(InputError, match=f"mute.mp4: nothing to classify: {name} needs audio and video"):
        last(tmp_path / "mute.mp4", members)


def test_the_first_window_is_what_the_stages_read(tmp_path):
    sound = 0.1 * np.random.default_rng(1).standard_normal((2, 441_000 + 300))
    for name, rate in (("a.wav", 48_000), ("b.wav", 44_100)):
        path = write_wav(tmp_path / name, sound[:, : 10 * rate], rate)
        (window,) = windows(str(path), None, 48_000, None)
        if rate == 48_000:
            with pytest.warns(UserWarning, match="shorter"):
                read = read_audio(path, 48_000)
            np.testing.assert_array_equal(read[:, : window.sound.shape[1]], window.sound)
        else:
            with pytest.warns(UserWarning):
                np.testing.assert_allclose(window.sound, read_audio(path, 48_000)[:, :480_000], atol=1e-6)
    film = write_mp4(tmp_path / "a.mp4")
    (window,) = windows(str(film), None, None, 32)
    np.testing.assert_array_equal(window.pictures, read_frames(film, 32))


def test_a_long_film_is_read_in_tens_and_its_end_with_what_precedes_it(tmp_path):
    film = write_mp4(tmp_path / "a.mp4", seconds=23)
    starts = [(w.start, len(w.pictures), round(w.sound.shape[1] / 48_000), w.whole) for w in
              windows(str(film), None, 48_000, 32)]  # fmt: skip
    assert starts == [(0, 10, 10, True), (10, 10, 10, True), (13, 10, 10, True)]


def test_early_decision_reads_no_further(members, trained):
    film = trained / "data/demo/clips/video/bus-lyon-1-1.mp4"
    whole = last(film, members)
    early = last(film, members, until=whole.seconds[0].max() - 1e-4)
    assert early.members.shape[1] == 1 and early.read == 2  # the first patch needs 1.89 s
    np.testing.assert_allclose(early.members[:, 0], whole.members[:, 0], atol=1e-5)
    never = last(film, members, until=1.0)
    assert never.read == 10
    np.testing.assert_allclose(never.members, whole.members, atol=1e-5)


def write_odd(path: Path, width=64, height=48, times=None, layout="stereo", codec="libx264", sound_codec="aac") -> Path:
    """Ten seconds at the given times of frames."""
    times = np.arange(0, 10, 1 / 12) if times is None else times
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=30)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream(sound_codec, rate=48_000, layout=layout)
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        channels = {"stereo": 2, "5.1": 6, "mono": 1}[layout]
        frame = av.AudioFrame.from_ndarray(noise(10, channels).astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("portrait.mp4", {"width": 48, "height": 96}),
        ("variable.mkv", {"times": np.concatenate([np.arange(0, 3, 0.04), np.arange(3, 10, 0.37)])}),
        ("surround.mp4", {"layout": "5.1"}),
        ("mono.mov", {"layout": "mono"}),
        ("stream.ts", {}),
    ],
)
def test_odd_films_have_ten_seconds(tmp_path, members, name, options):
    path = write_odd(tmp_path / name, **options)
    (window,) = windows(str(path), None, 48_000, 40)
    np.testing.assert_allclose(window.pictures.mean(axis=(1, 2, 3)), 20 * (np.arange(10) + 0.5), atol=9)
    timeline = last(path, members)
    assert timeline.members.shape == (2, 10, 3) and not timeline.silent()


def test_without_sound_or_pictures_the_others_speak(tmp_path, members):
    assert last(write_mp4(tmp_path / "mute.mp4", sound=False), members).silent() == ["audio_spectrogram/mel"]
    assert last(write_wav(tmp_path / "a.flac", noise()), members).silent() == ["visual_image/MobileNetV2"]
    with pytest.raises(InputError, match="a.flac: has no video"):
        last(tmp_path / "a.flac", members[1:])


def copied(wav: Path, name: str) -> Path:
    """The same samples in another container, by the ending of its name."""
    samples, rate = soundfile.read(wav, dtype="int32", always_2d=True)  # of 24 bits
    if name.endswith((".mkv", ".mov", ".m4a")):
        with av.open(name, "w") as out:
            stream = out.add_stream("alac" if name.endswith(".m4a") else "pcm_s24le", rate=rate, layout="stereo")
            stream.format = "s32p" if name.endswith(".m4a") else "s32"
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "s32", "stereo")
            frame.sample_rate, frame.pts = rate, 0
            whole = av.AudioResampler(stream.format, frame_size=stream.frame_size or None)
            for part in [*whole.resample(frame), *whole.resample(None), None]:
                out.mux(stream.encode(part))
    else:
        soundfile.write(name, samples, rate, subtype="PCM_24")
    return Path(name)


@pytest.mark.parametrize("name", ["a.flac", "a.aiff", "a.caf", "a.w64", "a.mkv", "a.mov", "a.m4a"])
def test_lossless_containers_have_the_same_probabilities(trained, members, name):
    clips = trained / "data/demo/clips/audio"
    said = last(copied(clips / "park-lyon-2-2.wav", name), members[:1])
    np.testing.assert_array_equal(said.members, last(clips / "park-lyon-2-2.wav", members[:1]).members)
    np.testing.assert_allclose(said.members[0], np.load(trained / f"data/predictions/{MEMBERS[0]}.npy")[1], atol=1e-5)
    assert np.abs(said.members - last(clips / "bus-lyon-1-1.wav", members[:1]).members).max() > 1e-3


def test_two_seconds_are_two(tmp_path, members):
    assert last(write_mp4(tmp_path / "short.mp4", seconds=2), members).members.shape[1] == 2


def test_bad_files_are_one_line_each_and_the_good_one_is_kept(tmp_path, trained):
    whole = write_mp4(tmp_path / "whole.mp4", faststart=True)
    (tmp_path / "truncated.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    (tmp_path / "half.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "text.mp4").write_text("not a film at all")
    result = classify(trained, "truncated.mp4", "text.mp4", "missing.mp4", "half.mp4", "whole.mp4", "--json", "a.json")
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1].strip() for line in errors] == ["truncated.mp4", "text.mp4", "missing.mp4"]
    assert "Traceback" not in result.stderr
    half, entire = json.loads(Path("a.json").read_text())["files"]
    assert (half["file"], entire["file"], entire["warnings"]) == ("half.mp4", "whole.mp4", [])
    assert half["label"] in CLASSES and half["seconds_read"] == 5
    assert {f"truncated: {kind} ends at 5 of 10 s" for kind in ("audio", "video")} <= set(half["warnings"])
    assert f"warning: half.mp4: {half['warnings'][0]}" in result.stderr


def test_folders_and_files_of_any_name_with_a_figure_each(trained):
    for name in ("mixed/a/rec.wav", "mixed/b/rec.WAV", "12:30.wav", "-x.wav"):
        write_wav(Path(name), noise(1, channels=1, rate=8000), 8000)
    Path("mixed/b/note.txt").touch()
    Path("mixed/c.wav").write_text("no sound")
    odd = os.fsdecode(b"mixed/M\xfcn\nchen.wav")
    try:
        Path(odd).write_bytes(Path("-x.wav").read_bytes())
    except (OSError, UnicodeError):  # the disk or the locale has no such names
        write_wav(Path(odd := "mixed/other.wav"), noise(1, channels=1, rate=8000), 8000)
    result = run(
        "classify.py", "--member", MEMBERS[0], "--checkout", trained, "--json", "a.json", "--csv", "a.csv", "--figure",
        "out/{name}.png", "--", "mixed", "12:30.wav", "-x.wav",
    )  # fmt: skip
    assert result.returncode == 1
    files = [odd, "mixed/a/rec.wav", "mixed/b/rec.WAV", "12:30.wav", "-x.wav"]
    assert [entry["file"] for entry in json.loads(Path("a.json").read_text())["files"]] == files
    assert list(dict.fromkeys(pd.read_csv("a.csv")["file"])) == [one_line(name) for name in files]
    assert all(f"\n{one_line(name)}\n" in result.stdout for name in files)
    figures = re.findall("^figure: (.*)$", result.stdout, re.M)
    assert len(set(figures)) == 5 and sorted(figures) == sorted(map(str, Path("out").iterdir()))
    assert {"out/rec.png", "out/rec-2.png", "out/12:30.png", "out/-x.png"} < set(figures)
    warning, error = result.stderr.splitlines()
    assert warning == "warning: mixed: left out: .txt (1); first: mixed/b/note.txt"
    assert error.startswith("error: mixed/c.wav: ")


@pytest.mark.parametrize(("encoding", "block"), [("latin-1", "#"), ("ascii", "#"), ("utf-8", "█")])
def test_any_encoding_of_the_output_will_do(trained, encoding, block):
    film = write_mp4(Path("Łódź.mp4"), seconds=2)
    options = ("--member", MEMBERS[1], "--checkout", trained)
    result = run("classify.py", film, *options, encoding=encoding)
    assert result.returncode == 0, result.stderr
    assert ("Łódź.mp4" if encoding == "utf-8" else "\\u0141") in result.stdout
    assert 0 < result.stdout.count(block) <= 40


def test_a_path_of_weights_with_a_space_is_that_of_the_recorded_run():
    """In the command of dvc.lock it stands as DVC quotes it."""
    numbers = {"weights": "/my weights/Straße's.pth", "pretrained": True, "widths": [4, 8]}
    command = "python stages/a.py " + to_str(numbers, {"bool": "boolean_optional", "list": "append"})
    recorded = Run(Path(), {}, {"a": command})
    _hold(recorded, "a", numbers)
    with pytest.raises(InputError, match="weights is /my weights/a.pth, but a ran with /my weights/Straße's.pth"):
        _hold(recorded, "a", {"weights": "/my weights/a.pth"})


@pytest.mark.parametrize("numbers", [{"hop": 336}, {"sample_rate": 32_000, "fmax": 16_000.0}])
def test_another_hop_or_rate_gives_the_patches_of_the_stage(trained, tmp_path, numbers):
    recorded = read_run(trained)
    params = {**recorded.params, "spectrogram": {"mel": {**recorded.params["spectrogram"]["mel"], **numbers}}}
    write_wav(tmp_path / "a.wav", noise())
    Path("media.csv").write_text("clip,audio\na,a.wav\n")
    options = [word for key, value in params["spectrogram"]["mel"].items() for word in (f"--{key}", value)]
    result = run("spectrogram.py", "mel", "media.csv", "mel.npy", *options, "--needs", "mel.needs.csv")
    assert result.returncode == 0, result.stderr
    expected = patches(np.load("mel.npy"), np.zeros(10, int), np.arange(10))
    (member,) = load(recorded._replace(params=params, commands={}), MEMBERS[:1])
    cut, network = member.network.layers[-2:]
    front = keras.Model(member.network.input, cut.output)
    assert network.input_shape[1:] == expected.shape[1:] != (128, 128, 6)
    np.testing.assert_array_equal(made(front, member.inputs(read_audio("a.wav", 48_000))), expected)
    np.testing.assert_allclose(member.needs, np.minimum(read_needs(Path("mel.needs.csv")), 10))


def test_numbers_that_are_not_those_of_the_recorded_run_are_refused(trained):
    recorded = read_run(trained)
    other = recorded._replace(commands={"spectrogram@mel": "python stages/spectrogram.py mel a b --fmin 50.0"})
    with pytest.raises(InputError, match="params.yaml: .* spectrogram@mel"):
        load(other, MEMBERS[:1])


def loop(clip: Path, path: Path, times: int) -> None:
    """Repeat the packets of a ten-second clip; of its sound, a little longer, those that overlap are left out."""
    with av.open(str(path), "w") as out:
        with av.open(str(clip)) as source:
            streams = [out.add_stream_from_template(stream) for stream in source.streams]
        ends = [-(10**9)] * len(streams)
        for number in range(times):
            with av.open(str(clip)) as source:
                for packet in source.demux():
                    index = packet.stream.index
                    if packet.dts is None:
                        continue
                    shift = round(10 * number / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts >= ends[index]:
                        ends[index] = packet.dts + (packet.duration if packet.stream.type == "audio" else 0)
                        packet.stream = streams[index]
                        out.mux(packet)


def test_ten_minutes_take_no_more_memory_than_one(tmp_path):
    """A looped clip, its packets repeated: nine more minutes, kept, would be 207 MB of sound and 41 MB of pictures."""
    clip = write_mp4(tmp_path / "clip.mp4", fps=2)
    peaks = []
    for minutes in (1, 10):
        loop(clip, tmp_path / f"{minutes}.mkv", 6 * minutes)
        count, peak = 0, 0
        for window in windows(str(tmp_path / f"{minutes}.mkv"), None, 48_000, 160):
            count += len(window.pictures) * window.whole
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            peak = max(peak, pages * resource.getpagesize() / 1e6)
        assert abs(count - 60 * minutes) <= 10
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 30


@pytest.mark.parametrize("faststart", [True, False])
def test_standard_input_is_read_as_a_file_is(tmp_path, monkeypatch, faststart):
    path = write_mp4(tmp_path / "a.mp4", faststart=faststart)
    (expected,) = windows(str(path), None, 48_000, 32)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=cat.stdout))
        (window,) = windows("-", None, 48_000, 32)
    np.testing.assert_array_equal(window.sound, expected.sound)
    np.testing.assert_array_equal(window.pictures, expected.pictures)
