"""Folders, names and targets like people's own: what is found, what is said of the rest, how outputs are named."""

import csv
import mimetypes
import os
import re
from pathlib import Path

import av
import classify
import import_folder
import numpy as np
import pandas as pd
import pytest
from conftest import noise, run, write_wav

from scenes.dataset.tables import parse_classes, read_setup
from scenes.media.finding import SOUND_FILES, VIDEO_FILES, find_media, shorten
from scenes.media.recordings import find_recordings
from scenes.stage.errors import InputError, OutputError, one_line

# What FFmpeg claims and we leave: pictures, text and subtitles, samples without any header, what mostly is no media.
NOT_TAKEN = """
    .avif .gif .heic .heif .j2k .jxl .mpo .ans .aqt .art .asc .diz .ice .idf .idx .mcc .mks .mpl2 .nfo .pjs .rt
    .sami .sbg .scc .smi .stl .sub .sup .txt .vt .vtt .webvtt .302 .bit .bitpacked .cif .qcif .rgb .sb .sw .ub .uw
    .v .v210 .yuv .yuv10 .adf .cgi .dat .str .vb .xl
"""
ODD_NAMES = {
    "not UTF-8": b"M\xfcnchen-1.wav",
    "255 bytes": b"x" * 251 + b".wav",
    "255 bytes of a script of three bytes a letter": "駅".encode() * 83 + b"-1.wav",
    "a line break": b"two\nlines-1.wav",
    "a colon, as of a protocol": b"12:30.wav",
    "a hyphen first": b"-x.wav",
    "quotes, a percent sign and a backslash": b"%03d 'a' \"b\"\\c.wav",
    "only odd characters": b"\xff\xfe.wav",
    "an ending in capitals": b"REC00001.WAV",
}


def sound(path: Path | str, seconds: float = 1) -> Path:
    return write_wav(Path(path), noise(seconds, channels=1, rate=8000), 8000)


def named(folder: Path, name: bytes, content: Path) -> Path:
    """A copy of a file under any name; skips where the disk or the locale has no such names."""
    folder.mkdir(parents=True, exist_ok=True)
    path = os.fsencode(folder) + b"/" + name
    try:
        Path(os.fsdecode(path)).write_bytes(content.read_bytes())
    except (OSError, UnicodeError) as error:
        pytest.skip(f"no such names here: {error}")
    return Path(os.fsdecode(path))


def link(path: Path | str, target: Path | str) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.symlink_to(Path(target).resolve())
    except OSError as error:
        pytest.skip(f"no links here: {error}")


@pytest.fixture
def mine(monkeypatch) -> Path:
    """Two classes of three locations."""
    monkeypatch.setenv("SCENES_WORKERS", "1")
    for scene in ("bus", "park"):
        for place in "abc":
            sound(f"mine/{scene}/{place}-1.wav")
    return Path("mine")


def imported(folder: Path = Path("mine"), out: str = "set", **options) -> list[str]:
    """The clips of the data set that becomes of a folder."""
    import_folder.main(folder, Path(out), **options)
    setup = Path(out) / "evaluation_setup"
    scenes = {row["scene_label"] for fold in ("train", "evaluate")
              for row in pd.read_csv(setup / f"fold1_{fold}.csv", sep="\t").to_dict("records")}  # fmt: skip
    table = read_setup(setup, parse_classes([f"{scene}:{scene}" for scene in scenes]))
    files = {path.name for path in Path(out, "audio").iterdir()} | {path.name for path in Path(out, "video").iterdir()}
    assert files == {name for name in (*table["audio"], *table["video"]) if name}
    return list(table["clip"])


def report(out: str = "set") -> dict[str, dict[str, str]]:
    with open(f"{out}/import.csv", encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_every_ending_that_ffmpeg_claims_is_taken_or_left_on_purpose():
    claimed = set()
    for name in av.formats_available:
        try:
            claimed |= {f".{ending}" for ending in av.ContainerFormat(name, "r").extensions}
        except ValueError:  # it writes only
            continue
    assert len(claimed) > 200
    assert claimed - VIDEO_FILES - SOUND_FILES == set(NOT_TAKEN.split())
    by_content = ".wav .mp3 .m4a .webm .avi .m4v .mts .m2ts .ts .mpg .vob .wmv .wma .caf .w64 .opus .aiff .au .amr .mxf"
    assert not VIDEO_FILES & SOUND_FILES and set(by_content.split()) <= VIDEO_FILES | SOUND_FILES


def test_what_is_found_in_a_folder_and_what_is_counted():
    for name in ("a/rec.m4a", "b/rec.m4a", "a/00001.MTS", "a/._rec.m4a", "a/.hidden/x.wav", ".x.wav", "b/x.JPG",
                 "b/y.jpg", "b/notes", "lost+found/z.tmp"):  # fmt: skip
        path = Path("mixed", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    link("mixed/c/link", "mixed/b")
    link("mixed/c/above", "mixed")
    link("mixed/c/self/again", "mixed/c/self")
    link("mixed/gone.wav", "nowhere.wav")
    os.mkfifo("mixed/pipe.wav")
    Path("mixed/round").symlink_to("round")
    found = find_media(Path("mixed"))
    assert [str(path) for path in found.files] == [
        "mixed/a/00001.MTS", "mixed/a/rec.m4a", "mixed/b/rec.m4a", "mixed/c/link/rec.m4a",
    ]  # fmt: skip
    assert {reason: len(paths) for reason, paths in found.left_out.items()} == {
        ".jpg": 4, ".tmp": 1, "no extension": 2, "broken links": 2, "links to a parent folder": 2,
        "devices or pipes": 1,
    }  # fmt: skip
    assert found.told().endswith("no extension (2); first: mixed/b/notes")
    assert [Path(path) for path in classify._expand("mixed")] == found.files
    with pytest.raises(InputError, match="^mixed/lost[+]found: contains no audio or video files; left out: .tmp .1.; "):
        classify._expand("mixed/lost+found")


def test_what_is_found_does_not_depend_on_the_types_that_the_machine_knows(monkeypatch):
    monkeypatch.setattr(mimetypes, "guess_type", lambda *a, **k: (None, None))
    monkeypatch.setattr(mimetypes, "guess_file_type", lambda *a, **k: (None, None), raising=False)
    Path("mine").mkdir()
    for name in ("mine/a.flac", "mine/b.m4a", "mine/c.opus"):
        Path(name).touch()
    assert [path.suffix for path in find_media(Path("mine")).files] == [".flac", ".m4a", ".opus"]


def test_a_folder_that_cannot_be_opened_is_counted(monkeypatch):
    Path("mine/bus").mkdir(parents=True)
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "bus":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_media(Path("mine")).told() == "unreadable folders (1); first: mine/bus"


def test_a_class_whose_folder_is_a_link_is_imported(mine):
    link("linked/bus", mine / "bus")
    link("linked/park", mine / "park")
    assert len(imported(Path("linked"))) == 6


def test_a_file_by_two_names_is_one_recording_and_of_one_class(mine, capsys):
    link("mine/bus/d-1.wav", "mine/bus/a-1.wav")
    os.link("mine/park/b-1.wav", "mine/park/e-1.wav")
    link("mine/gone/a-1.wav", "nowhere.wav")
    assert len(imported()) == 6
    assert "warning: left out: broken links (1), duplicate links (2); first: " in capsys.readouterr().err
    link("mine/park/d-1.wav", "mine/bus/a-1.wav")
    with pytest.raises(InputError, match="^mine/park/d-1.wav: same file as mine/bus/a-1.wav in another class"):
        imported(out="other")


def test_what_is_left_out_is_counted_by_ending(mine, capsys):
    for name in ("bus/a.JPG", "bus/b.jpg", "park/._a-1.wav", "notes.txt", "z.wav"):
        Path(mine, name).touch()
    assert len(imported()) == 6
    assert capsys.readouterr().err.startswith(
        "warning: left out: .jpg (2), .txt (1), outside a class folder (1); first: mine/bus/a.JPG\n"
    )


@pytest.mark.parametrize("ending", ["m4a", "mp3", "webm", "avi", "m4v", "MTS", "m2ts", "ts", "caf", "w64", "opus"])
def test_films_and_sounds_of_every_ending_are_imported(monkeypatch, ending):
    """Sound alone, whatever the ending says: content decides."""
    monkeypatch.setenv("SCENES_WORKERS", "1")
    path = Path(f"mine/bus/a-1.{ending}")
    path.parent.mkdir(parents=True)
    format = {"caf": "caf", "w64": "w64"}.get(ending)
    codec = {"mp3": "libmp3lame", "opus": "libopus", "webm": "libopus", "caf": "pcm_s16le", "w64": "pcm_s16le"}
    with av.open(str(path), "w", format=format or {"MTS": "mpegts", "m2ts": "mpegts"}.get(ending)) as container:
        stream = container.add_stream(codec.get(ending, "aac"), rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(noise(2).astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        resampler = av.AudioResampler(format=stream.format, frame_size=stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    assert imported(evaluate=0.0) == ["bus-none-a-1_001"]
    assert [path.name for path in Path("set/audio").iterdir()] == ["bus-none-a-1_001.wav"]


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_file_of_any_name_is_imported_under_a_safe_one(mine, name, capsys):
    path = named(mine / "bus", name, sound("whole.wav"))
    clips = imported()
    assert len(clips) == 7
    for clip in clips:
        assert re.fullmatch(r"[\w-]+", clip) and clip.count("-") == 3 and len(clip.encode()) < 230
    assert report()[one_line(path)]["outcome"] == "imported"
    path.write_bytes(b"no sound")
    assert len(imported(out="other", skip_broken=True)) == 6
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert line.startswith(f"warning: skipped: {one_line(path)}: ") and line.encode()
    assert report("other")[one_line(path)]["outcome"] == "refused"


def test_long_names_of_one_beginning_stay_apart():
    words = ["x" * 251, "x" * 250 + "y", "é" * 100, "é" * 99 + "e", "short"]
    short = [shorten(word) for word in words]
    assert len(set(short)) == 5 and short[-1] == "short" and max(len(word.encode()) for word in short) <= 52
    for name in ("bus/" + "x" * 200 + "-1.wav", "bus/" + "x" * 200 + "-2.wav", "bus/" + "x" * 199 + "y-1.wav"):
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    recordings, _ = find_recordings(Path("mine"), each_alone=False)
    assert len({recording.name for recording in recordings}) == 3
    assert len({recording.location for recording in recordings}) == 2


def test_the_data_set_may_be_the_folder_one_is_in(mine, monkeypatch):
    Path("here").mkdir()
    monkeypatch.chdir("here")
    assert len(imported(Path("../mine"), ".")) == 6
    assert sorted(os.listdir()) == ["audio", "evaluation_setup", "import.csv", "video"]


def test_the_data_set_may_be_a_link(mine):
    Path("disk").mkdir()
    link("set", "disk")
    assert len(imported()) == 6
    assert Path("set").is_symlink() and Path("disk/import.csv").exists()


def test_the_data_set_may_be_a_disk_with_what_belongs_to_it(mine):
    """A mounted folder cannot be renamed or replaced; a disk's own folders are no content."""
    Path("set/lost+found").mkdir(parents=True)
    Path("set/.Trash-1000").mkdir()
    before = Path("set").stat().st_ino
    assert len(imported()) == 6
    assert Path("set").stat().st_ino == before and Path("set/lost+found").is_dir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Path("set").touch(), "set: already exists and is not a folder"),
        (lambda: sound("set/x.wav"), "set: already exists and is not empty"),
        (lambda: sound("set/audio/x.wav"), "set: already exists and is not empty"),
        (lambda: link("set", "mine/bus"), "set: is inside mine"),
        (lambda: Path("set").symlink_to("set"), "set: already exists and is not a folder"),
    ],
)
def test_a_target_that_will_not_do_is_refused_before_the_first_cut(mine, monkeypatch, make, message):
    monkeypatch.setattr(import_folder, "cut_recording", lambda *arguments: pytest.fail("something was cut"))
    make()
    result = run("import_folder.py", "mine", "set")
    assert result.returncode == 1 and result.stderr.startswith(f"error: {message}"), result.stderr


def test_a_class_of_too_few_locations_is_said_before_the_first_cut(mine, monkeypatch):
    monkeypatch.setattr(import_folder, "cut_recording", lambda *arguments: pytest.fail("something was cut"))
    sound("mine/tram/a-1.wav")
    with pytest.raises(InputError, match="^mine: class tram has only [a-z]+ clips .locations: none-a.; add locations"):
        imported()
    assert not Path("set").exists()


@pytest.mark.parametrize("moved", range(1, 5))
def test_an_import_that_was_killed_while_it_moved_its_outputs_goes_on(mine, monkeypatch, moved):
    replace = Path.replace

    def killed(path, target):
        if path.parent.name == import_folder.UNFINISHED and len(os.listdir("set")) > moved:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        if moved == 4:  # or while it tidied up
            patch.setattr(import_folder.shutil, "rmtree", killed_rmtree)
        imported()
    assert len(set(os.listdir("set")) & set(import_folder.MADE)) == moved
    monkeypatch.setattr("scenes.media.cutting.open_media", lambda path: pytest.fail(f"{path} was cut again"))
    assert len(imported()) == 6 and sorted(os.listdir("set")) == sorted(import_folder.MADE)


def killed_rmtree(path):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(), ZeroDivisionError("division by zero"), UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid"),
        PermissionError(13, "Permission denied"), av.InvalidDataError(1, "Invalid data"), RuntimeError("two\nlines"),
        InputError("its clock runs backwards"),
    ],
    ids=lambda fault: type(fault).__name__,
)  # fmt: skip
def test_any_fault_of_a_file_is_one_line_that_names_it_and_may_be_skipped(mine, monkeypatch, capsys, fault):
    cut = import_folder.cut_recording

    def fail(recording, folder):
        if recording.name == "bus-none-b-1":
            raise fault
        return cut(recording, folder)

    monkeypatch.setattr(import_folder, "cut_recording", fail)
    with pytest.raises(InputError, match="^mine/bus/b-1.wav: [^\n]+; or pass --skip-broken$"):
        imported()
    capsys.readouterr()
    assert len(imported(skip_broken=True)) == 5
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert line.startswith("warning: skipped: mine/bus/b-1.wav: ")
    assert report()["mine/bus/b-1.wav"]["outcome"] == "refused"


def test_a_full_disk_is_no_fault_of_a_file(mine, monkeypatch):
    def fail(recording, folder):
        raise OutputError("set: cannot be written (No space left on device)")

    monkeypatch.setattr(import_folder, "cut_recording", fail)
    with pytest.raises(OutputError, match="^set: cannot be written"):
        imported(skip_broken=True)


def test_figures_of_files_of_one_name_are_told_apart():
    paths = ["a/x.mp4", "b/x.mp4", "b/X.wav", "c/x-2.mp4", "d/" + "y" * 251 + ".wav", "M\udcfcn\nchen.wav"]
    figures = classify._figures("out/{name}.png", paths)
    names = [figure.name for figure in figures]
    assert names[:4] == ["x.png", "x-2.png", "X-3.png", "x-2-2.png"] and str(figures[0].parent) == "out"
    assert len({name.casefold() for name in names}) == 6
    assert all(name.isprintable() and len(name.encode()) < 200 for name in names)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("trip{1}.png", "--figure trip{1}.png: "),
        ("{name.png", "--figure {name.png: "),
        ("{name!r:>{x}}.png", "--figure {name!r:>{x}}.png: "),
        ("{name}.bmpp", "--figure {name}.bmpp: must end in one of .png, .jpg, .pdf, .svg"),
        ("{name}", "--figure {name}: must end in one of"),
        ("one.png", "--figure one.png: one figure for 2 files; add {name} to it"),
    ],
)
def test_a_figure_that_cannot_be_is_said_before_a_model_is_loaded(pattern, message):
    result = run("classify.py", "a.wav", "b.wav", "--figure", pattern, "--checkout", "nowhere")
    assert result.returncode == 1 and result.stderr.startswith(f"error: {message}"), result.stderr
    assert result.stdout == ""
