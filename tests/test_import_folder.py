"""Somebody's own recordings: phone films, sound files and what else lies in a folder become a data set."""

import os
import re
import shutil
import subprocess
import sys
import unicodedata
from fractions import Fraction
from pathlib import Path

import av
import import_folder
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import ROOT, noise, write_mp4, write_wav

from scenes.dataset.tables import hold_out, parse_classes, place, read_setup
from scenes.media.clip import read_audio, read_frames
from scenes.media.cutting import Cut, cut_recording
from scenes.media.recordings import Recording, find_recordings
from scenes.stage.errors import InputError

SIZE = (64, 48)


def write_film(
    path: Path, times: list[float], size: tuple[int, int] = SIZE, rotation: int = 0, sound: int = 0, colour=None
) -> Path:
    """A film whose left half is white and whose right half is a grey of 20 times the second, of frames at any times.

    `sound` is how many seconds of noise come with it, `colour` another one of the right half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    with av.open(str(path), "w") as container:
        odd = width % 2 or height % 2
        stream = container.add_stream("libx264", rate=30, pix_fmt="yuv444p" if odd else "yuv420p")
        track = container.add_stream("pcm_s16le", rate=48_000, layout="stereo") if sound else None
        stream.width, stream.height = size
        stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for time in times:
            picture = np.full((height, width, 3), min(20 * time, 255), np.uint8)
            picture[:, width // 2 :] = picture[:, width // 2 :] if colour is None else colour
            picture[:, : width // 2] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track:
            samples = (noise(sound) * 2**15).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, 0
            container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def steady(seconds: float, fps: int = 10) -> list[float]:
    return [index / fps for index in range(round(seconds * fps))]


def grey(frames: np.ndarray) -> np.ndarray:
    return frames[:, :, 20:].mean(axis=(1, 2, 3))


def cut(*files: Path) -> Cut:
    """Cut a recording of a film, or of a film and a sound file, in this folder."""
    for name in ("audio", "video", "done"):
        Path(name).mkdir(exist_ok=True)
    return cut_recording(Recording("bus", "oslo", "line5", "1", *files, *[None] * (2 - len(files))), Path())


def film_clip(index: int) -> Path:
    return Path(f"video/bus-oslo-line5-1_{index + 1:03}.mp4")


def wav_clip(index: int) -> Path:
    return Path(f"audio/bus-oslo-line5-1_{index + 1:03}.wav")


def touched(*names: str) -> None:
    for name in names:
        path = Path("mine") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(**options) -> list[str]:
    return [recording.name for recording in find_recordings(Path("mine"), **{"each_alone": False, **options})[0]]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("bus/IMG_1234.MOV", "bus-none-IMG_1234-IMG_1234"),
        ("bus/line 5-first ride.mp4", "bus-none-line_5-first_ride"),
        ("bus/line5/IMG_1.mp4", "bus-none-line5-IMG_1"),
        ("bus/oslo-line5-1.wav", "bus-oslo-line5-1"),
        ("bus/oslo/line5/1.flac", "bus-oslo-line5-1"),
        ("bus/oslo/line5-back-1.mkv", "bus-oslo-line5_back-1"),
        ("bus/bus-oslo-1104-42.mp4", "bus-oslo-1104-42"),
        ("night bus/Grønland-Ærø, 2.mp4", "night_bus-none-Grønland-Ærø_2"),
        (f"bus/{unicodedata.normalize('NFD', 'Käthe')}-1.mp4", "bus-none-Käthe-1"),
        ("bus/$(rm x);--1.mp4", "bus-rm_x-_-1"),
    ],
)
def test_names_tell_the_place_and_are_safe(file, name):
    touched(file)
    assert names() == [name]
    assert re.fullmatch(r"[\w-]+", name) and name.count("-") == 3


def test_names_differ_in_more_than_case():
    touched("bus/a-b c.mp4", "bus/a-B_c.mp4", "bus/a-b_c_2.mp4", "bus/lone 1.mp4", "bus/lone_1.wav")
    assert sorted(names()) == [
        "bus-none-a-B_c", "bus-none-a-b_c_2", "bus-none-a-b_c_2_2", "bus-none-lone_1-lone_1",
        "bus-none-lone_1_2-lone_1_2",
    ]  # fmt: skip


def test_each_recording_may_be_a_place_of_its_own():
    touched("bus/oslo/line5/1.mp4", "bus/oslo/line5/2.mp4")
    assert names(each_alone=True) == ["bus-none-oslo_line5_1-oslo_line5_1", "bus-none-oslo_line5_2-oslo_line5_2"]


def test_a_film_and_a_sound_file_of_one_name_are_one_recording():
    touched("bus/a.mp4", "bus/a.wav", "bus/.a.mp4", "bus/.trash/b.mp4", "bus/a.txt", "c.mp4")
    recordings, found = find_recordings(Path("mine"), each_alone=False)
    assert [(r.video.name, r.audio.name) for r in recordings] == [("a.mp4", "a.wav")]
    assert found.told() == ".txt (1), outside a class folder (1); first: mine/bus/a.txt"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.mp4"], "mine: no recordings in class folders; expected "),
        (["bus/a.mp4", "bus/a.mov"], "mine/bus/a.mp4: same name as a.mov; rename one of them"),
        (["my bus/a.mp4", "my_bus/b.mp4"], "mine/my_bus: gives the same class name as 'my bus'; rename one of them"),
    ],
)
def test_a_folder_that_is_not_clear_is_refused(files, message):
    touched(*files)
    with pytest.raises(InputError) as error:
        names()
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "clips"), [(0.3, 1), (9.9, 1), (10, 1), (19.8, 1), (19.9, 2), (20, 2), (25, 2), (30, 3)]
)
def test_a_long_film_gives_several_clips(seconds, clips):
    made = cut(write_film(Path("long.mp4"), steady(seconds)))
    assert [row["filename_video"] for row in made.clips] == [str(film_clip(index)) for index in range(clips)]
    assert set(Path("video").iterdir()) == {film_clip(index) for index in range(clips)}
    assert made.files[0]["seconds"] == pytest.approx(seconds, abs=0.1)
    assert made.files[0]["streams"] == "video h264 64x48"
    for index in range(clips if seconds >= 9.8 else 0):
        expected = np.minimum(20 * (10 * index + np.arange(10) + 0.5), 255)
        np.testing.assert_allclose(grey(read_frames(film_clip(index), 32)), expected, atol=4)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_phone_film_is_turned_upright(rotation):
    film = write_film(Path("phone.mov"), steady(10), rotation=rotation)
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).rotation % 360 == rotation  # the film is what it is meant to be
    cut(film)
    with av.open(str(film_clip(0))) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        assert (frame.width, frame.height) == (SIZE if rotation == 180 else SIZE[::-1])
    np.testing.assert_allclose(read_frames(film_clip(0), 32), read_frames(film, 32), atol=30)
    assert np.abs(read_frames(film_clip(0), 32).astype(int) - read_frames(film, 32)).mean() < 3


def test_frames_keep_their_times_where_the_rate_varies():
    """Two frames a second, then twenty-five; and a picture that stands still over a cut."""
    times = [*np.arange(0, 5, 0.5), *np.arange(5, 8, 0.04), 12.0, *np.arange(12.5, 20, 0.25)]
    assert len(cut(write_film(Path("varies.mp4"), times)).clips) == 2
    for index in (0, 1):
        middles = 10 * index + np.arange(10) + 0.5
        shown = [max(time for time in times if time <= middle + 1e-6) for middle in middles]
        expected = np.minimum(20 * np.array(shown), 255)
        np.testing.assert_allclose(grey(read_frames(film_clip(index), 32)), expected, atol=4)


@pytest.mark.parametrize(
    ("size", "written"), [((63, 47), (62, 46)), ((1920, 1080), (1280, 720)), ((1080, 1920), (720, 1280))]
)
def test_odd_and_large_sizes(size, written):
    cut(write_film(Path("a.mp4"), steady(1), size))
    with av.open(str(film_clip(0))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (*written, "yuv420p")


def test_matroska_without_a_length_of_its_stream():
    assert len(cut(write_film(Path("a.mkv"), steady(21))).clips) == 2


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 1)])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_sound_keeps_its_rate_and_channels(ending, rate, channels):
    sound = noise(25, channels, rate)
    soundfile.write(f"long.{ending}", sound.T, rate, subtype="PCM_24")
    assert len(cut(Path(f"long.{ending}")).clips) == 2
    for index in (0, 1):
        piece, found = soundfile.read(wav_clip(index), always_2d=True)
        assert found == rate and soundfile.info(wav_clip(index)).subtype == "PCM_24"
        np.testing.assert_allclose(piece.T, sound[:, 10 * index * rate : 10 * (index + 1) * rate], atol=2**-22)


def test_sound_louder_than_full_scale_stays_as_it_is():
    """As of a 32-bit float recorder; a clip that is not so loud is of 24 bits."""
    sound = noise(20).astype(np.float32)
    sound[:, 100_000:200_000] *= 40
    soundfile.write("loud.wav", sound.T, 48_000, subtype="FLOAT")
    assert len(cut(Path("loud.wav")).clips) == 2 and np.abs(sound).max() > 4
    assert [soundfile.info(wav_clip(index)).subtype for index in (0, 1)] == ["FLOAT", "PCM_24"]
    np.testing.assert_array_equal(soundfile.read(wav_clip(0), dtype="float32")[0].T, sound[:, :480_000])


@pytest.mark.parametrize(
    ("pictures", "sound", "clips"),
    [
        (25, 5, ["av", "v"]),
        (5, 25, ["av", "a"]),
        (20, 12, ["av", "av"]),
        (20, 10.5, ["av", "v"]),
        (12, 20, ["av", "av"]),
    ],
)
def test_what_only_sounds_or_only_shows_is_kept(pictures, sound, clips):
    """One of them was switched off before the other."""
    write_film(Path("a.mkv"), steady(pictures))
    write_wav(Path("a.wav"), noise(sound, channels=1, rate=8000), 8000)
    made = cut(Path("a.mkv"), Path("a.wav"))
    assert ["a" * bool(row["filename_audio"]) + "v" * bool(row["filename_video"]) for row in made.clips] == clips
    assert {str(path) for kind in ("audio", "video") for path in Path(kind).iterdir()} == {
        row[f"filename_{kind}"] for row in made.clips for kind in ("audio", "video")
    } - {""}
    assert [row["seconds"] for row in made.files] == pytest.approx([pictures, sound], abs=0.1)


def test_a_picture_is_dark_before_the_film_begins():
    """So that the clip keeps the time of its sound; within half a second the first picture stands in."""
    for start, dark in ((0.4, 0), (3.0, 3)):
        write_film(Path("late.mkv"), [time for time in steady(10) if time >= start], sound=10)
        Path("done/bus-oslo-line5-1.json").unlink(missing_ok=True)
        cut(Path("late.mkv"))
        frames = read_frames(film_clip(0), 32)
        assert (frames[:dark].max(initial=0) < 20) and frames[dark:, :, :8].min() > 200
        np.testing.assert_allclose(grey(frames[dark:]), 20 * (np.arange(dark, 10) + 0.5), atol=4)


def test_colours_stay_what_they_are_in_small_and_large_films():
    """A video that does not say how its colours are coded is taken by its size; a clip says it."""
    for size in ((640, 480), (1280, 720)):
        source = write_film(Path("a.mp4"), steady(1), size, colour=(200, 30, 60))
        Path("done/bus-oslo-line5-1.json").unlink(missing_ok=True)
        cut(source)
        with pytest.warns(UserWarning, match="shorter"):
            wanted, found = (read_frames(path, 32)[0].astype(int) for path in (source, film_clip(0)))
        np.testing.assert_allclose(found, wanted, atol=6)


HOUR = """
import resource, sys
from pathlib import Path
from scenes.media.cutting import cut_recording
from scenes.media.clip import read_frames
from scenes.media.recordings import Recording
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = cut_recording(Recording("bus", "oslo", "line5", "1", Path(sys.argv[1]), None), Path())
print(len(made.clips), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_an_hour_is_cut_in_flat_memory():
    """As samples, its sound alone would be 58 MB."""
    minute = noise(60, 1, 4000).T
    with soundfile.SoundFile("hour.flac", "w", 4000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    for name in ("audio", "video", "done"):
        Path(name).mkdir()
    result = subprocess.run(
        [sys.executable, "-c", HOUR, "hour.flac"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "stages")},
    )  # fmt: skip
    clips, megabytes = map(int, result.stdout.split())
    assert clips == 360 and megabytes < 30, result.stderr


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two classes of three places each: films with and without sound, sound alone, and both."""
    folder = tmp_path_factory.mktemp("recordings")
    write_mp4(folder / "night bus/line 5-1.mp4", seconds=21, fps=4)
    write_mp4(folder / "night bus/línea-1.mp4", seconds=5, fps=4)
    write_mp4(folder / "night bus/silent.mp4", fps=4, sound=False)
    write_wav(folder / "forêt/oslo/lake-1.wav", noise(12, channels=1, rate=44_100), 44_100)
    write_film(folder / "forêt/hill.mov", steady(10, 4), rotation=90)
    write_mp4(folder / "forêt/shore-1.mp4", fps=4, sound=False)
    write_wav(folder / "forêt/shore-1.wav", noise(10))
    return folder


@pytest.fixture
def mine(recordings, monkeypatch):
    monkeypatch.setenv("SCENES_WORKERS", "1")
    return shutil.copytree(recordings, Path("mine"))


def run(folder: str = "mine", out: str = "set", **options) -> None:
    import_folder.main(Path(folder), Path(out), **options)


def test_a_folder_becomes_a_data_set(mine):
    command = [sys.executable, ROOT / "stages/import_folder.py", "mine", "set"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "SCENES_WORKERS": "2"})
    assert result.returncode == 0, result.stderr
    table = read_setup(Path("set/evaluation_setup"), parse_classes(["night_bus:a", "forêt:b"])).set_index("clip")
    assert {clip: (bool(row["audio"]), bool(row["video"])) for clip, row in table.iterrows()} == {
        "night_bus-none-line_5-1_001": (True, True),
        "night_bus-none-line_5-1_002": (True, True),
        "night_bus-none-línea-1_001": (True, True),
        "night_bus-none-silent-silent_001": (False, True),
        "forêt-oslo-lake-1_001": (True, False),
        "forêt-none-hill-hill_001": (False, True),
        "forêt-none-shore-1_001": (True, True),
    }
    files = {str(path.relative_to("set")) for path in Path("set").rglob("*") if path.is_file()}
    named = {f"{kind}/{name}" for kind in ("audio", "video") for name in table[kind] if name}
    setup = {"evaluation_setup/fold1_train.csv", "evaluation_setup/fold1_evaluate.csv"}
    assert files == named | setup | {"import.csv"}
    for scene in ("night_bus", "forêt"):
        assert set(table.loc[table["scene"] == scene, "fold"]) == {"train", "evaluate"}
    assert table.groupby(place(table))["fold"].nunique().max() == 1
    with pytest.warns(match="mono|44100"):
        assert read_audio("set/audio/forêt-oslo-lake-1_001.wav", 48_000).any()
    frames = read_frames("set/video/night_bus-none-line_5-1_001.mp4", 32)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 * (np.arange(10) + 0.5), atol=4)
    assert f"  setup: {Path('set/evaluation_setup').resolve()}\n" in result.stdout
    assert "    - forêt:forêt\n    - night_bus:night_bus\n" in result.stdout
    with pytest.raises(InputError, match="^set: already exists and is not empty"):
        run()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"", "empty file"),
        (b"no film at all", "not an audio or video file"),
        (b"RIFF1234WAVEfmt ", "not an audio or"),
    ],
)
def test_a_broken_film_is_named_in_one_line_or_skipped(monkeypatch, capsys, broken, message):
    monkeypatch.setenv("SCENES_WORKERS", "1")
    for take in (1, 2):
        write_wav(Path(f"mine/bus/line{take}-1.wav"), noise(1))
    film = Path("mine/bus/late show.mp4")
    film.write_bytes(broken)
    with pytest.raises(InputError, match=f"^{film}: .*{message}.*; or pass --skip-broken$") as error:
        run()
    assert "\n" not in str(error.value) and os.listdir("set") == ["unfinished-import"]
    run(skip_broken=True)
    assert f"warning: skipped: {film}: " in capsys.readouterr().err
    assert len(list(Path("set/audio").iterdir())) == 2 and not list(Path("set/video").iterdir())
    assert not list(Path("set").glob("unfinished*"))


def test_the_report_lists_what_was_taken_warned_of_and_refused(monkeypatch, capsys):
    monkeypatch.setenv("SCENES_WORKERS", "1")
    whole = write_mp4(Path("mine/bus/a-1.mp4"), seconds=20, fps=4, faststart=True)
    Path("mine/bus/b-1.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    Path("mine/bus/c-1.mkv").write_bytes(b"nothing")
    write_wav(Path("mine/bus/d-1.wav"), noise(3, channels=1, rate=8000), 8000)
    run(skip_broken=True)
    table = pd.read_csv("set/import.csv", keep_default_na=False)
    assert list(table) == ["file", "outcome", "seconds", "streams", "warnings"]
    assert list(table["file"]) == [f"mine/bus/{name}" for name in ("a-1.mp4", "b-1.mp4", "c-1.mkv", "d-1.wav")]
    assert list(table["outcome"]) == ["imported", "imported", "refused", "imported"]
    assert [float(seconds or 0) for seconds in table["seconds"]] == pytest.approx([20, 10, 0, 3], abs=1.5)
    assert table["streams"][0].startswith("video h264 64x48") and "audio aac" in table["streams"][0]
    assert not table["warnings"][0] and "truncated" in table["warnings"][1] and "c-1.mkv: " in table["warnings"][2]
    said = capsys.readouterr()
    assert "3 files imported, 1 refused, 1 with warnings; see set/import.csv\n" in said.out
    assert re.search(r"warning: 1 files: .*truncated.* \(first: mine/bus/b-1.mp4\)\n", said.err)


def test_an_interrupted_import_goes_on(mine):
    """What is cut stays as it is; what was removed meanwhile leaves nothing."""
    (mine / "night bus/z.mp4").touch()
    with pytest.raises(InputError, match=r"z.mp4"):
        run()
    unfinished = Path("set/unfinished-import")
    times = {path.name: path.stat().st_mtime_ns for path in unfinished.glob("*o/*")}
    assert len(times) == 11
    (mine / "night bus/z.mp4").unlink()
    (mine / "forêt/hill.mov").unlink()
    write_mp4(mine / "night bus/silent.mp4", seconds=2, sound=False)
    run()
    kept = {path.name: path.stat().st_mtime_ns for path in Path("set").glob("*o/*")}
    assert set(times) - set(kept) == {"forêt-none-hill-hill_001.mp4"}
    changed = {name for name, time in kept.items() if times[name] != time}
    assert changed == {"night_bus-none-silent-silent_001.mp4"}
    assert not unfinished.exists()


def test_a_class_of_one_location_needs_another_split(monkeypatch):
    monkeypatch.setenv("SCENES_WORKERS", "1")
    for take in (1, 2, 3):
        write_wav(Path(f"mine/bus/line5-{take}.wav"), noise(1, channels=1, rate=8000), 8000)
    with pytest.raises(InputError) as error:
        run()
    assert str(error.value) == (
        "mine: class bus has only train clips (locations: none-line5); "
        "add locations, or pass --by recording or another --seed"
    )
    run(by="recording")
    setup = [pd.read_csv(f"set/evaluation_setup/fold1_{fold}.csv", sep="\t") for fold in ("train", "evaluate")]
    assert [len(rows) for rows in setup] == [2, 1]
    run(out="all", evaluate=0.0)
    assert len(pd.read_csv("all/evaluation_setup/fold1_train.csv", sep="\t")) == 3


def test_the_data_set_does_not_land_in_the_folder():
    touched("bus/a.mp4")
    with pytest.raises(InputError, match="^mine/set: is inside mine; choose a folder outside it$"):
        run(out="mine/set")


def test_the_rooms_of_one_flat_are_held_out_together():
    """So that a location of several classes does not empty the train fold."""
    rows = [(scene, "oslo", f"flat{flat}") for scene in ("bath", "hall", "kitchen") for flat in range(5)]
    table = pd.DataFrame(rows, columns=["scene", "city", "location"]).assign(fold="train")
    for seed in range(10):
        held = hold_out(table, 0.4, seed)
        assert (held["fold"] == "validation").sum() == 6
        assert held.groupby("location")["fold"].nunique().max() == 1
