"""The one reader: what is heard and seen of odd recordings, second by second, from every program that reads them.

Frames are grey, 20 more each second, with a white square in the upper left corner; sound is a tone, 300 Hz higher each
second. So a string of seconds says what a program heard and saw; `-` is silence or no frame.
"""

import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
from conftest import write_wav

from scenes.features.openl3_input import read_pictures
from scenes.media.clip import read_audio, read_frames
from scenes.media.container import open_media
from scenes.media.cutting import cut_recording
from scenes.media.pictures import Painter
from scenes.media.recordings import Recording
from scenes.media.stream import windows
from scenes.stage.errors import InputError

RATE = 16_000
SIZE = (64, 48)


def tones(seconds: float, rate: int = RATE, channels: int = 2, first: int = 0, level: float = 0.2) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    tone = level * np.sin(2 * np.pi * 300 * (np.floor(time) + 1 + first) * time)
    return np.tile(tone.astype(np.float32), (channels, 1))


def image(second: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    picture = np.full((size[1], size[0], 3), min(20 * int(second), 240), np.uint8)
    picture[: size[1] // 4, : size[0] // 4] = 255
    return picture


def heard(sound: np.ndarray, rate: int) -> str:
    """The second that the tone of each second says."""
    said = []
    for start in range(0, sound.shape[1] - rate // 2 + 1, rate):
        block = sound[:, start + rate // 4 : start + 3 * rate // 4].mean(axis=0)
        if len(block) < rate // 8 or np.abs(block).max() < 1e-3:
            said.append("-")
        else:
            spectrum = np.abs(np.fft.rfft(block * np.hanning(len(block)), rate * 2))
            said.append(f"{spectrum.argmax() / 2 / 300 - 1:.0f}")
    return " ".join(said)


def seen(frames: np.ndarray, unseen: int = 0) -> str:
    """The second that the grey of each frame says."""
    height, width = frames.shape[1:3]
    grey = frames[:, height // 2 :, width // 2 :].mean(axis=(1, 2, 3))
    return " ".join("-" if number < unseen else f"{value / 20:.0f}" for number, value in enumerate(grey))


def film(
    path: str, seconds: float = 12, *, times=None, sounds=((0.0, None),), tracks=None, layout="stereo", rate=RATE,
    codec: str | None = "libx264", sound_codec="pcm_s16le", rotation=None, mux=None, first=0, size=SIZE, **tags,
) -> Path:  # fmt: skip
    """A film; `sounds` are the stretches of its track, `tracks` the sounds of several instead."""
    with av.open(path, "w", container_options=mux or {}) as out:
        out.metadata.update(tags)
        packets, stream = [], None
        if codec:
            stream = out.add_stream(codec, rate=10, pix_fmt="yuv420p", options={"preset": "ultrafast", "g": "20"})
            stream.width, stream.height = size
            stream.codec_context.time_base = Fraction(1, 1000)
            if rotation:
                stream.set_display_rotation(*rotation)
        whole = tones(seconds, rate, {"mono": 1, "stereo": 2, "5.1": 6}[layout], first)
        pieces = [[(a, whole[:, round(a * rate) : None if b is None else round(b * rate)]) for a, b in sounds]]
        pieces = [[(0.0, sound)] for sound in tracks] if tracks else pieces if sounds else []
        audio = [out.add_stream(sound_codec, rate=rate, layout=layout) for _ in pieces]
        for time in (times if times is not None else np.arange(0, seconds, 0.1)) if stream else ():
            frame = av.VideoFrame.from_ndarray(image(time, size), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode() if stream else []
        for track, stretches in zip(audio, pieces, strict=True):
            for start, sound in stretches:
                for at in range(0, sound.shape[1], 1024):
                    block = np.ascontiguousarray(sound[:, at : at + 1024])
                    frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                    frame.sample_rate, frame.pts, frame.time_base = rate, round(start * rate) + at, Fraction(1, rate)
                    for part in av.AudioResampler(track.format).resample(frame):
                        packets += track.encode(part)
            packets += track.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            out.mux(packet)
    return Path(path)


def edited(path: Path, edit: Callable[[bytearray], bytes | None]) -> Path:
    content = bytearray(path.read_bytes())
    path.write_bytes(edit(content) or content)
    return path


def joined(first: Path, second: Path) -> Path:
    return edited(first, lambda content: bytes(content) + second.read_bytes())


def sizes(number: int) -> Callable[[bytearray], None]:
    def edit(content: bytearray) -> None:
        content[4:8] = content[40:44] = struct.pack("<I", number)

    return edit


def odd_list(content: bytearray) -> bytes:
    content = content[:36] + b"LIST" + struct.pack("<I", 5) + b"INFOx" + content[36:]
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def unknown(content: bytearray) -> None:
    """A flac that does not know its length."""
    content[21] &= 0xF0
    content[22:26] = bytes(4)


def torn(path: Path, track: int, packets: slice) -> Path:
    """Bytes that no decoder knows in the place of some packets."""
    with av.open(str(path)) as source:
        places = [(packet.pos, packet.size) for packet in source.demux(source.streams[track]) if packet.size][packets]

    def edit(content: bytearray) -> None:
        for position, size in places:
            content[position : position + size] = b"\xff" * size

    return edited(path, edit)


def wav(name: str = "a.wav", sound: np.ndarray | None = None, **options) -> Path:
    return write_wav(Path(name), tones(12) if sound is None else sound, RATE, **{"subtype": "PCM_16", **options})


def centre() -> np.ndarray:
    return np.stack([tones(12)[0] if channel == 2 else np.zeros(12 * RATE, np.float32) for channel in range(6)])


def run(start: int, stop: int) -> str:
    return " ".join(str(second) for second in range(start, stop))


def still(value: int, count: int) -> str:
    return " ".join([str(value)] * count)


TWELVE = run(0, 12)
SILENT = np.zeros((2, 12 * RATE), np.float32)
# What makes it; what is heard, what is seen, and a part of each warning.
CASES: dict[str, tuple[Callable[[], Path], str, str, tuple[str, ...]]] = {
    "sound begins late": (lambda: film("a.mkv", sounds=[(3.0, None)]), f"- - - {run(3, 12)}", TWELVE, ()),
    "sound begins late, mp4": (
        lambda: film("a.mp4", sounds=[(3.0, None)], sound_codec="aac"), f"- - - {run(3, 12)}", TWELVE, ()),
    "sound pauses": (lambda: film("a.mkv", sounds=[(0.0, 4.0), (8.0, None)]), f"{run(0, 4)} - - - - {run(8, 12)}",
                     TWELVE, ()),
    "pictures begin late": (lambda: film("a.mkv", times=np.arange(3.2, 12, 0.1)), TWELVE, f"- - - {run(3, 12)}", ()),
    "pictures stand still": (lambda: film("a.mkv", 50, times=[*np.arange(0, 3, 0.1), *np.arange(46, 50, 0.1)]),
                             None, f"{run(0, 3)} {still(2, 43)} {still(12, 4)}", ()),
    "one picture": (lambda: film("a.mp4", times=[0.0, 11.999], sound_codec="aac"), TWELVE, still(0, 12), ()),
    "pictures end first": (lambda: film("a.mkv", times=np.arange(0, 5, 0.1)), TWELVE, run(0, 5), ()),
    "sound ends first": (lambda: film("a.mkv", sounds=[(0.0, 5.0)]), run(0, 5), TWELVE, ()),
    "clock leaps": (lambda: film("a.mkv", times=[*np.arange(0, 2, 0.1), *np.arange(3602, 3604, 0.1)], sounds=[]), "",
                    f"{run(0, 2)} {still(1, 60)} {still(12, 2)}", ("clock leaps by 3600 s at 2 s: cut to 60 s",)),
    "clock restarts, layout changes": (
        lambda: joined(film("a.ts", 6, layout="5.1", sound_codec="aac", rate=48_000),
                       film("b.ts", 6, sound_codec="aac", rate=48_000, first=6)),
        TWELVE, f"{run(0, 6)} {run(0, 6)}", ()),
    "clock restarts, rate changes": (
        lambda: joined(film("a.ts", 6, sound_codec="aac", rate=44_100),
                       film("b.ts", 6, sound_codec="aac", rate=48_000, first=6)),
        TWELVE, f"{run(0, 6)} {run(0, 6)}", ()),
    "first track silent": (lambda: film("a.mkv", tracks=[SILENT, tones(12)]), " ".join("-" * 12), TWELVE,
                           ("audio track 1, the one that is read, is silent, track 2 is not",)),
    "first track without decoder": (
        lambda: edited(film("a.mkv", tracks=[tones(12), tones(12)]),
                       lambda content: bytes(content).replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", 1)),
        TWELVE, TWELVE, ()),
    "video without decoder": (
        lambda: edited(film("a.mov"), lambda content: bytes(content).replace(b"avc1", b"xraw")), TWELVE, "",
        ("video left out: FFmpeg has no decoder for it",)),
    "sound in the centre alone": (
        lambda: film("a.mkv", tracks=[centre()], layout="5.1"), TWELVE, TWELVE, ()),
    "tags that are not UTF-8": (
        lambda: edited(film("a.avi", codec="mpeg4", title="Muenchen"),
                       lambda content: bytes(content).replace(b"Muenchen", b"M\xfcnchen!")), TWELVE, TWELVE, ()),
    "wav of SoX to a pipe": (lambda: edited(wav(), sizes(0x7FFFF000)), TWELVE, "", ()),
    "wav of ffmpeg to a pipe": (lambda: edited(wav(), sizes(0xFFFFFFFF)), TWELVE, "", ()),
    "wav never finished": (lambda: edited(wav(), sizes(0)), TWELVE, "", ()),
    "wav with an odd chunk": (lambda: edited(wav(), odd_list), TWELVE, "", ()),
    "wav without its pad byte": (lambda: edited(wav(sound=tones(12, channels=1), subtype="PCM_U8"),
                                                lambda content: content + b"LIST\1\0\0\0x"), TWELVE, "", ()),
    "flac of unknown length": (lambda: edited(wav("a.flac"), unknown), TWELVE, "", ()),
    "mp4 named wav": (lambda: film("a.mp4", codec=None, sound_codec="aac").rename("a.wav"), TWELVE, "", ()),
    "sound alone in an mp4": (lambda: film("a.mp4", codec=None, sound_codec="aac"), TWELVE, "", ()),
    "truncated film": (lambda: edited(film("a.mkv", 12), lambda content: content[: len(content) * 5 // 8]), run(0, 7),
                       run(0, 7), ("audio ends at 7 of 12 s", "video ends at 8 of 12 s")),
    "truncated flac": (lambda: edited(wav("a.flac"), lambda content: content[: len(content) * 5 // 8]), None, "",
                       ("audio ends at", "damaged: 1 of")),
    "truncated wav": (lambda: edited(wav(), lambda content: content[: len(content) * 5 // 8]), run(0, 7), "",
                      ("audio ends at 7 of 12 s",)),
    "damaged sound": (lambda: torn(film("a.mp4", sound_codec="aac"), 1, slice(78, 96)), None, TWELVE,
                      ("packets of its audio left out",)),
}  # fmt: skip


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
    refused(path, f"a.wav: {rate} samples a second")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_one_line_from_every_program(value):
    sound = tones(12)
    sound[0, 1000] = value
    refused(wav(sound=sound, subtype="FLOAT"), "a.wav: holds samples that are not finite")


def refused(path: Path, message: str) -> None:
    for folder in ("audio", "video", "done"):
        Path(folder).mkdir()
    for program in (lambda: read_audio(path, RATE), lambda: streamed(path),
                    lambda: cut_recording(Recording("bus", "oslo", "1", "1", None, path), Path())):  # fmt: skip
        with pytest.raises(InputError, match=message):
            program()


def test_what_is_hardly_there_is_refused():
    path = edited(film("a.mkv"), lambda content: content[: len(content) // 4])
    with pytest.raises(InputError, match="a.mkv: truncated: its audio ends at 3 of 12 s; truncated: its video"):
        list(windows(str(path), None, RATE, 32))


def test_loud_float_sound_is_not_clipped():
    assert np.abs(read_audio(wav(sound=tones(12, level=4.0), subtype="FLOAT"), RATE)).max() > 3.9


def test_a_cover_is_no_video():
    """An mp4's cover is a track of one picture, marked as such."""
    with av.open("a.mp4", "w") as out:
        sound, cover = out.add_stream("aac", rate=RATE, layout="stereo"), out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = *SIZE, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tones(10), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = RATE, 0
        for packet in [*cover.encode(av.VideoFrame.from_ndarray(image(3), format="rgb24")), *cover.encode(),
                       *sound.encode(frame), *sound.encode()]:  # fmt: skip
            out.mux(packet)
    assert streamed("a.mp4")[:2] == (run(0, 10), "")


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


def test_hdr_is_toned_down_to_bt709():
    """PQ: what is no brighter than a page of paper is as bright as in an ordinary video, not grey."""
    grey = {}
    for kind in (1, 16):
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, value in zip(frame.planes, (500, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
        frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = 9, 9, kind, 1
        grey[kind] = Painter().square(frame, 32).mean()
    assert grey[16] > grey[1] + 8


def test_openl3_decodes_a_film_once(monkeypatch):
    path = film("a.mp4", 10, sounds=[])
    opened = []
    counting = lambda *a, **k: opened.append(a) or open_media(*a, **k)  # noqa: E731
    monkeypatch.setattr("scenes.features.openl3_input.open_media", counting)
    assert read_pictures(path, 20).shape == (20, 224, 224, 3) and len(opened) == 1


def test_two_thousand_damaged_files_are_read_or_refused_in_one_line():
    """Ten kinds of containers, in a process of its own under limits of memory and time."""
    script = Path(__file__).with_name("fuzz_reader.py")
    result = subprocess.run([sys.executable, str(script), "2000"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    counts = [int(line.split()[0]) for line in result.stdout.splitlines()]
    assert sum(counts) >= 2000 and min(counts) > 200
