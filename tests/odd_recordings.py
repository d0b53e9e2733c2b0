"""Small recordings of the kinds that people bring, and what is right to hear and see in them, second by second.

Frames are grey, 20 more each second, with a white square in the upper left corner; sound is a tone, 300 Hz higher each
second. So a string of seconds says what a program heard and saw; `-` is silence or no frame.
"""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from conftest import write_wav

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
    codec: str | None = "libx264", sound_codec="pcm_s16le", rotation=None, first=0, size=SIZE, default=None, lasts=None,
    cover=False, **tags,
) -> Path:  # fmt: skip
    """A film; `sounds` are the stretches of its track, `tracks` the sounds of several instead.

    `default` is the number of the default one of them, `lasts` says how long the last frame stands.
    """
    with av.open(path, "w") as out:
        out.metadata.update(tags)
        packets, stream = [], None
        if cover:  # in an mp4 a track of one picture, marked as such
            attached = out.add_stream("mjpeg", rate=1, pix_fmt="yuvj420p")
            attached.width, attached.height, attached.disposition = *size, Disposition.attached_pic
            packets += [*attached.encode(av.VideoFrame.from_ndarray(image(12), format="rgb24")), *attached.encode()]
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
        if lasts:
            packets[-1].duration = round(lasts / packets[-1].time_base)
        for number, track in enumerate(audio if default is not None else ()):
            track.disposition = Disposition.default if number == default else Disposition(0)
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


def remuxed(name: str, *parts: tuple[Path, float, float]) -> Path:
    """The packets of films one after another, not encoded anew: their sound and their frames each so much later."""
    with av.open(name, "w") as out:
        streams: dict[str, av.stream.Stream] = {}
        for path, *shifts in parts:
            with av.open(str(path)) as source:
                streams = streams or {stream.type: out.add_stream_from_template(stream) for stream in source.streams}
                for packet in source.demux():
                    if packet.size:
                        later = round(shifts[packet.stream.type == "video"] / packet.time_base)
                        packet.pts, packet.dts = packet.pts + later, packet.dts + later
                        packet.stream = streams[packet.stream.type]
                        out.mux(packet)
    return Path(name)


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


def no_duration(content: bytearray) -> bytes:
    """A Matroska whose frame does not say that it lasts 12,000 ms, though its track does: that element is made void."""
    duration = b"\x9b\x82" + (12_000).to_bytes(2)
    assert content.count(duration) == 1
    return bytes(content).replace(duration, b"\xec" + duration[1:])


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
    "sound pauses, mp4": (
        lambda: film("a.mp4", sounds=[(0.0, 4.0), (8.0, None)], sound_codec="aac"),
        f"{run(0, 4)} - - - - {run(8, 12)}", TWELVE, ()),
    "sound shifted by a copy": (
        lambda: remuxed("b.mp4", (film("a.mp4", sound_codec="aac"), 3, 0)), f"- - - {TWELVE}", TWELVE, ()),
    "cut by an edit list": (
        lambda: remuxed("b.mp4", (film("a.mp4", 15, sound_codec="aac"), -3, -3)), run(3, 15),
        f"{run(3, 13)} 12 12", ()),
    "pictures begin late": (lambda: film("a.mkv", times=np.arange(3.2, 12, 0.1)), TWELVE, f"- - - {run(3, 12)}", ()),
    "pictures stand still": (
        lambda: film("a.mkv", 80, times=[*np.arange(0, 3, 0.1), *np.arange(76, 80, 0.1)],
                     tracks=[np.tile(tones(10), 8)]),
        " ".join([run(0, 10)] * 8), f"{run(0, 3)} {still(2, 73)} {still(12, 4)}", ()),
    "one picture": (lambda: film("a.mp4", times=[0.0, 11.999], sound_codec="aac"), TWELVE, still(0, 12), ()),
    "a single frame": (
        lambda: film("a.mp4", times=[0.0], lasts=12, sound_codec="aac"), TWELVE, still(0, 12), ()),
    "a single frame of no duration": (lambda: edited(film("a.mkv", times=[0.0], lasts=12), no_duration), TWELVE,
                                      still(0, 12), ()),
    "pictures end long before": (lambda: film("a.mkv", 22, times=np.arange(0, 5, 0.1)), run(0, 22), run(0, 5), ()),
    "pictures end first": (lambda: film("a.mkv", times=np.arange(0, 5, 0.1)), TWELVE, run(0, 5), ()),
    "sound ends first": (lambda: film("a.mkv", sounds=[(0.0, 5.0)]), run(0, 5), TWELVE, ()),
    "clock leaps": (lambda: film("a.mkv", times=[*np.arange(0, 2, 0.1), *np.arange(3602, 3604, 0.1)], sounds=[]), "",
                    f"{run(0, 2)} {still(1, 60)} {still(12, 2)}", ("jump by 3600 s at 2 s, shortened to 60 s",)),
    "clock restarts, layout changes": (
        lambda: joined(film("a.ts", 6, layout="5.1", sound_codec="aac", rate=48_000),
                       film("b.ts", 6, sound_codec="aac", rate=48_000, first=6)),
        TWELVE, f"{run(0, 6)} {run(0, 6)}", ()),
    "clock restarts, rate changes": (
        lambda: joined(film("a.ts", 6, sound_codec="aac", rate=44_100),
                       film("b.ts", 6, sound_codec="aac", rate=48_000, first=6)),
        TWELVE, f"{run(0, 6)} {run(0, 6)}", ()),
    "layout of AC-3 changes": (
        lambda: remuxed("c.mkv", (film("a.mkv", 6, layout="5.1", sound_codec="ac3", rate=48_000), 0, 0),
                        (film("b.mkv", 6, sound_codec="ac3", rate=48_000, first=6), 6.016, 6)),
        TWELVE, f"{run(0, 6)} {run(0, 6)}", ()),
    "first track silent": (lambda: film("a.mkv", tracks=[SILENT, tones(12)]), " ".join("-" * 12), TWELVE,
                           ("audio track 1 is used and silent, but track 2 is not",)),
    "first track silent, second default": (
        lambda: film("a.mkv", tracks=[SILENT, tones(12)], default=1), TWELVE, TWELVE, ()),
    "first track without decoder": (
        lambda: edited(film("a.mkv", tracks=[tones(12), tones(12)]),
                       lambda content: bytes(content).replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", 1)),
        TWELVE, TWELVE, ()),
    "video without decoder": (
        lambda: edited(film("a.mov"), lambda content: bytes(content).replace(b"avc1", b"xraw")), TWELVE, "",
        ("video skipped: FFmpeg has no decoder for it",)),
    "sound in the centre alone": (
        lambda: film("a.mkv", tracks=[centre()], layout="5.1"), TWELVE, TWELVE, ()),
    "sound in the centre alone, wav": (lambda: wav(sound=centre()), TWELVE, "", ()),
    "tags that are not UTF-8": (
        lambda: edited(film("a.avi", codec="mpeg4", title="Muenchen"),
                       lambda content: bytes(content).replace(b"Muenchen", b"M\xfcnchen!")), TWELVE, TWELVE, ()),
    "wav of SoX to a pipe": (lambda: edited(wav(), sizes(0x7FFFF000)), TWELVE, "", ()),
    "wav of ffmpeg to a pipe": (lambda: edited(wav(), sizes(0xFFFFFFFF)), TWELVE, "", ()),
    "wav never finished": (lambda: edited(wav(), sizes(0)), TWELVE, "", ()),
    "wav with an odd chunk": (lambda: edited(wav(), odd_list), TWELVE, "", ()),
    "wav without its pad byte": (
        lambda: edited(wav(sound=tones(12, channels=1)[:, :-1], subtype="PCM_U8"), lambda content: content[:-1]),
        TWELVE, "", ()),
    "wav with a last chunk without its pad byte": (
        lambda: edited(wav(sound=tones(12, channels=1), subtype="PCM_U8"),
                       lambda content: content + b"LIST\1\0\0\0x"), TWELVE, "", ()),
    "flac of unknown length": (lambda: edited(wav("a.flac"), unknown), TWELVE, "", ()),
    "mp4 named wav": (lambda: film("a.mp4", codec=None, sound_codec="aac").rename("a.wav"), TWELVE, "", ()),
    "sound alone in an mp4": (lambda: film("a.mp4", codec=None, sound_codec="aac"), TWELVE, "", ()),
    "mp3 named wav": (
        lambda: film("a.mp3", codec=None, sound_codec="libmp3lame").rename("a.wav"), TWELVE, "", ()),
    "cover without a film": (
        lambda: film("a.mp4", codec=None, cover=True, sound_codec="aac"), TWELVE, "", ()),
    "film with a cover": (lambda: film("a.mp4", cover=True, sound_codec="aac"), TWELVE, TWELVE, ()),
    "truncated film": (lambda: edited(film("a.mkv", 12), lambda content: content[: len(content) * 5 // 8]), run(0, 7),
                       run(0, 7), ("audio ends at 7 of 12 s", "video ends at 8 of 12 s")),
    "truncated flac": (lambda: edited(wav("a.flac"), lambda content: content[: len(content) * 5 // 8]), None, "",
                       ("audio ends at", "damaged: skipped 1 of")),
    "truncated wav": (lambda: edited(wav(), lambda content: content[: len(content) * 5 // 8]), run(0, 7), "",
                      ("audio ends at 7 of 12 s",)),
    "damaged sound": (lambda: torn(film("a.mp4", sound_codec="aac"), 1, slice(78, 96)), None, TWELVE,
                      ("audio packets",)),
    "damaged pictures": (lambda: torn(film("a.mp4", sound_codec="aac"), 0, slice(43, 47)), TWELVE, TWELVE,
                         ("video packets",)),
}  # fmt: skip
