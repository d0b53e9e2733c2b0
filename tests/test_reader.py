"""The one reader: what is heard and seen of odd recordings, second by second, from every program that reads them.

Frames are grey, 20 more each second, with a white square in the upper left corner; sound is a tone, 300 Hz higher each
second. So a string of seconds says what a program heard and saw; `-` is silence or no frame.
"""

import struct
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from odd_recordings import CASES, RATE, edited, film, heard, seen, tones, torn, wav

from scenes.features.openl3_input import read_pictures
from scenes.media.clip import read_audio, read_frames
from scenes.media.container import open_media
from scenes.media.cutting import cut_recording
from scenes.media.pictures import Painter
from scenes.media.recordings import Recording
from scenes.media.stream import windows
from scenes.stage.errors import InputError


def streamed(path: Path | str) -> tuple[str, str, list[str]]:
    """What the windows of `classify` hold, each second once."""
    sound, sight, window = [], [], SimpleNamespace(warnings=[])
    for window in windows(str(path), None, RATE, 32):
        if window.sound is not None:
            sound[window.start :] = heard(window.sound, RATE).split()
        if window.pictures is not None:
            sight[window.start :] = seen(window.pictures, window.unseen).split()
    return " ".join(sound), " ".join(sight), window.warnings


@pytest.mark.parametrize("name", CASES)
def test_every_program_hears_and_sees_the_same(name):
    make, sound, sight, notes = CASES[name]
    path = make()
    said, shown, warned = streamed(path)
    assert said == sound or sound is None
    assert shown == sight
    assert len(warned) == len(notes) and all(note in line for note, line in zip(notes, warned, strict=True)), warned
    with warnings.catch_warnings(action="ignore"):
        if said:
            filled = (said.split() * 10)[:10] if len(said.split()) in (5, 10, 12) else None
            assert filled is None or heard(read_audio(path, RATE), RATE).split() == filled
        if shown:
            numbers = shown.replace("-", shown.split()[shown.split().count("-")]).split()
            assert seen(read_frames(path, 32)).split() == (numbers * 10)[:10]
        for folder in ("audio", "video", "done"):
            Path(folder).mkdir()
        clips = cut_recording(Recording("bus", "oslo", "1", "1", path, None), Path()).clips
        assert bool(clips[0]["filename_audio"]) == bool(said) and bool(clips[0]["filename_video"]) == bool(shown)
        if said:
            wave, rate = soundfile.read(clips[0]["filename_audio"], always_2d=True)
            assert heard(wave.T, rate).split() == said.split()[:10]
        if shown:
            frames = seen(read_frames(clips[0]["filename_video"], 32)).split()
            dark = shown.split().count("-")  # an mp4 has no frame that is none
            assert (frames[dark:], frames[:dark]) == (
                numbers[dark:10] if len(numbers) > 9 else frames[dark:],
                ["0"] * dark,
            )


@pytest.mark.parametrize(("rotation", "corner"), [((0, False, False), "ul"), ((0, True, False), "ur"),
                                                  ((0, False, True), "ll"), ((180, False, False), "lr"),
                                                  ((90, False, False), "ll"), ((270, False, False), "ur"),
                                                  ((90, True, False), "lr")])  # fmt: skip
def test_display_matrices_are_obeyed_with_their_mirrors(rotation, corner):
    frames = read_frames(film("a.mp4", 10, sounds=[], rotation=rotation), 48)
    corners = {"ul": frames[:, :8, :8], "ur": frames[:, :8, -8:], "ll": frames[:, -8:, :8], "lr": frames[:, -8:, -8:]}
    assert max(corners, key=lambda name: corners[name].mean()) == corner


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_an_absurd_rate_is_one_line_from_every_program(rate):
    path = edited(wav(), lambda content: content[:24] + struct.pack("<I", rate) + content[28:])
    refused(path, f"a.wav: sample rate is {rate} Hz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_one_line_from_every_program(value):
    sound = tones(12)
    sound[0, 1000] = value
    refused(wav(sound=sound, subtype="FLOAT"), "a.wav: contains samples that are NaN or infinite")


def refused(path: Path, message: str) -> None:
    for folder in ("audio", "video", "done"):
        Path(folder).mkdir()
    for program in (lambda: read_audio(path, RATE), lambda: streamed(path),
                    lambda: cut_recording(Recording("bus", "oslo", "1", "1", None, path), Path())):  # fmt: skip
        with pytest.raises(InputError, match=message):
            program()


def test_what_is_hardly_there_is_refused():
    path = edited(film("a.mkv"), lambda content: content[: len(content) // 4])
    with pytest.raises(InputError, match="a.mkv: truncated: audio ends at 3 of 12 s; truncated: video"):
        list(windows(str(path), None, RATE, 32))


def test_one_damaged_packet_shifts_nothing():
    """It lasts less than what times may be off."""
    sound = {}
    for packets in (slice(0), slice(60, 61)):
        with open_media(torn(film("a.mp4", sound_codec="aac"), 1, packets)) as media:
            sound[packets.start] = np.concatenate([block.samples for block in media.blocks(pictures=False)], axis=1)
    whole, damaged = sound.values()
    assert whole.shape == damaged.shape and np.abs(damaged - whole).max() > 0.1
    np.testing.assert_allclose(damaged[:, 5 * RATE :], whole[:, 5 * RATE :], atol=1e-4)


def test_loud_float_sound_is_not_clipped():
    assert np.abs(read_audio(wav(sound=tones(12, level=4.0), subtype="FLOAT"), RATE)).max() > 3.9


def test_a_file_object_is_read_as_its_file_is():
    path = film("a.mkv", 3)
    with path.open("rb") as file, open_media(file) as media, open_media(path) as other:
        for block, same in zip(media.blocks(), other.blocks(), strict=True):
            assert block[0] == same[0]


def test_a_large_video_without_colour_tags_is_bt709():
    """As players show it: by its size."""
    red = {}
    for size in ((640, 360), (1280, 720)):
        with av.open("a.mp4", "w") as out:
            stream = out.add_stream("libx264", rate=1, pix_fmt="yuv420p", options={"preset": "ultrafast"})
            stream.width, stream.height = size
            frame = av.VideoFrame(*size, "yuv420p")
            for plane, value in zip(frame.planes, (63, 102, 240), strict=True):  # BT.709's red
                plane.update(bytes([value]) * plane.buffer_size)
            out.mux(stream.encode(frame))
            out.mux(stream.encode())
        with warnings.catch_warnings(action="ignore"):
            red[size[1]] = read_frames("a.mp4", 32)[0].mean(axis=(0, 1))
    np.testing.assert_allclose(red[720], [255, 0, 0], atol=4)
    assert np.abs(red[360] - [255, 0, 0]).max() > 10


@pytest.mark.parametrize(("curve", "white"), [(16, 572), (18, 721)], ids=["PQ", "HLG"])
def test_hdr_is_toned_down_to_bt709(curve, white):
    """A white page (203 cd/m2: BT.2408) is white, and half the signal brighter than in an ordinary video."""
    painter = Painter()  # which takes seconds to begin with such a curve

    def shown(curve: int, value: int) -> float:
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, level in zip(frame.planes, (value, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, level, np.uint16).tobytes())
        frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, curve, 1
        return painter.square(frame, 32).mean()

    paper, half = shown(curve, white), shown(curve, 502)
    assert paper > 245 > shown(1, white) + 40
    assert half > shown(1, 502) + 10


def test_openl3_decodes_a_film_once(monkeypatch):
    path = film("a.mp4", 10, sounds=[])
    opened = []
    counting = lambda *a, **k: opened.append(a) or open_media(*a, **k)  # noqa: E731
    monkeypatch.setattr("scenes.features.openl3_input.open_media", counting)
    assert read_pictures(path, 20).shape == (20, 224, 224, 3) and len(opened) == 1


@pytest.mark.parametrize("files", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused_in_one_line(files):
    """Ten kinds of containers, in a process of its own under limits of memory and time."""
    script = Path(__file__).with_name("fuzz_reader.py")
    result = subprocess.run([sys.executable, str(script), str(files)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    counts = [int(line.split()[0]) for line in result.stdout.splitlines()]
    assert sum(counts) >= files and min(counts) > files / 10
