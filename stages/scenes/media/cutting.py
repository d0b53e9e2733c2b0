"""Cutting recordings of any length into clips of ten seconds: sound as wav, pictures as mp4."""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
from av.video.reformatter import Colorspace

from scenes.dataset.tables import SECONDS, SETUP_COLUMNS
from scenes.media.container import open_media
from scenes.media.pictures import HD, Painter, Picture
from scenes.media.recordings import Recording
from scenes.media.sound import Sound
from scenes.stage.errors import InputError, one_line
from scenes.stage.outputs import naming, write_json, writing

TOLERANCE = Fraction(1, 10)  # seconds that a last clip may lack
LONGER_SIDE = 1280  # pixels, as in TAU Urban Audio-Visual Scenes 2021; larger films are made smaller
RATE = 30  # frames a second, for the encoder's rate control; each frame keeps its own time
TIME_BASE = Fraction(1, 90_000)
LATE = Fraction(1, 2)  # seconds by which the first picture may come late; before a later one it is dark


class Cut(NamedTuple):
    """What a recording gave."""

    clips: list[dict[str, str]]  # `scene, city, location` and the columns of a setup file, empty where a clip lacks it
    files: list[dict]  # `file, outcome, seconds, streams, warnings` of each of its files


def cut_recording(recording: Recording, folder: Path) -> Cut:
    """Cut a recording into clips, unless an earlier run did.

    A clip has a wav, or an mp4, if the recording has at least a second of sound, or of pictures, in its ten seconds. A
    last clip that is not whole is dropped, unless it is the only one.

    Parameters
    ----------
    recording : Recording
    folder : Path
        With folders `audio` and `video` for the clips, and `done` for telling what is whole.

    Returns
    -------
    Cut

    Raises
    ------
    InputError
        If one of its files cannot be read.
    OutputError
        If a clip cannot be written.
    """
    state = repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in recording.files])
    done = folder / "done" / f"{recording.name}.json"
    if done.exists() and (earlier := json.loads(done.read_text(encoding="utf-8")))["state"] == state:
        return Cut(earlier["clips"], earlier["files"])

    def clip(kind: str, index: int) -> str:
        return f"{kind}/{recording.name}_{index + 1:03}.{'wav' if kind == 'audio' else 'mp4'}"

    wavs = Wavs(lambda index: folder / clip("audio", index))
    films = Films(lambda index: folder / clip("video", index))
    files = [_cut_file(path, path == recording.files[-1], path == recording.files[0], wavs, films)
             for path in recording.files]  # fmt: skip
    count = max(1, int((max(wavs.end, films.end) + TOLERANCE) // SECONDS))
    heard, seen = wavs.keep(count), films.keep(count)
    clips = []
    for index in range(count):
        named = clip("audio", index) if index in heard else "", clip("video", index) if index in seen else ""
        row = dict(zip(SETUP_COLUMNS, (*named, recording.scene), strict=True))
        clips.append({"scene": recording.scene, "city": recording.city, "location": recording.location, **row})
    write_json(done, {"state": state, "clips": clips, "files": files})
    return Cut(clips, files)


def _cut_file(path: Path, sound: bool, pictures: bool, wavs: "Wavs", films: "Films") -> dict:
    """Cut what is wanted of a file; returns its row of the report."""
    with open_media(path) as media, wavs, films:
        for block in media.blocks(sound=sound, pictures=pictures):
            (wavs if isinstance(block, Sound) else films).add(block)
        seconds = max(wavs.end if sound else 0, films.end if pictures else 0)
        if not seconds:
            wanted = " or ".join(kind for kind, want in (("audio", sound), ("video", pictures)) if want)
            raise InputError(f"{path}: contains no {wanted}; remove it")
    return {
        "file": one_line(path), "outcome": "imported", "seconds": round(float(seconds), 2),
        "streams": ", ".join(media.streams), "warnings": [one_line(line) for line in media.warnings],
    }  # fmt: skip


class _Clips:
    """Writes a recording as clips of ten seconds, never holding more than one.

    Parameters
    ----------
    clip : callable
        From the number of a clip to its file.
    """

    def __init__(self, clip: Callable[[int], Path]):
        self.clip, self.seconds, self.end = clip, defaultdict(Fraction), Fraction(0)

    def __enter__(self):
        return self

    def keep(self, count: int) -> set[int]:
        """Which of the first `count` clips are worth keeping: the first, and those of a second; the others go."""
        kept = {index for index, seconds in self.seconds.items() if index < count and (index == 0 or seconds >= 1)}
        for index in self.seconds.keys() - kept:
            self.clip(index).unlink()
        return kept


class Wavs(_Clips):
    """The sound, at its own rate: 24-bit wavs, or 32-bit float where it is louder than those can be."""

    def __init__(self, clip: Callable[[int], Path]):
        super().__init__(clip)
        self.held: list[np.ndarray] = []
        self.samples = 0  # of those that are held

    def add(self, block: Sound) -> None:
        samples, whole = block.samples, SECONDS * block.rate
        self.rate, self.end = block.rate, self.end + Fraction(samples.shape[1], block.rate)
        while samples.shape[1]:
            part, samples = np.split(samples, [whole - self.samples], axis=1)
            self.held.append(part)
            self.samples += part.shape[1]
            if self.samples == whole:
                self._write()

    def __exit__(self, *error: object) -> None:
        if self.held and not any(error):
            self._write()

    def _write(self) -> None:
        index, sound = len(self.seconds), np.concatenate(self.held, axis=1)
        with writing(self.clip(index)) as temporary:
            subtype = "FLOAT" if np.abs(sound).max() > 1 else "PCM_24"
            soundfile.write(os.fsencode(temporary), sound.T, self.rate, subtype=subtype)
        self.seconds[index], self.held, self.samples = Fraction(self.samples, self.rate), [], 0


class Films(_Clips):
    """The pictures: H.264 mp4s without sound, upright, each frame at its own time.

    They are encoded anew: a cut without that would have to wait for a key frame. A frame that is on screen at a cut
    comes in both clips.
    """

    def __init__(self, clip: Callable[[int], Path]):
        super().__init__(clip)
        self.painter, self.before, self.film = Painter(), None, None

    def add(self, picture: Picture) -> None:
        if self.before:
            self._show(self.before, picture.since)
        self.before, self.end = picture if picture.frame else None, picture.since

    def _show(self, picture: Picture, until: Fraction) -> None:
        sides = picture.frame.width, picture.frame.height
        size = (max(2, int(side * min(1, LONGER_SIDE / max(sides))) // 2 * 2) for side in sides)
        image = self.painter.paint(picture.frame, *size)
        for index in range(int(picture.since // SECONDS), ceil(until / SECONDS)):
            if index not in self.seconds:
                self._close()
                self.film = _Film(self.clip(index), image)
            begin, end = (min(max(time - index * SECONDS, Fraction(0)), SECONDS) for time in (picture.since, until))
            self.film.show(image, begin, end)
            self.seconds[index] += end - begin

    def _close(self) -> None:
        if self.film:
            self.film.close()
        self.film = None

    def __exit__(self, *error: object) -> None:
        self._close()


class _Film:
    """An mp4 that is being written, of images of the size of the first."""

    def __init__(self, path: Path, image: np.ndarray):
        self.path, self.shown, self.until = path, None, Fraction(0)
        self.height, self.width = image.shape[:2]
        with naming(path):
            self.container = av.open(str(path), "w", container_options={"fflags": "bitexact"})
            options = {"preset": "veryfast", "crf": "18", "threads": "1"}
            self.stream = self.container.add_stream("libx264", rate=RATE, options=options, pix_fmt="yuv420p")
            self.stream.height, self.stream.width = self.height, self.width
            self.stream.codec_context.time_base = TIME_BASE
            # As players, and our reader, take a video of its size that does not say.
            hd = self.width >= HD[0] or self.height > HD[1]
            self.colours = Colorspace.ITU709 if hd else Colorspace.ITU601
            self.stream.codec_context.colorspace = self.colours

    def show(self, image: np.ndarray, since: Fraction, until: Fraction) -> None:
        """Add an image and when it comes on screen and goes, in seconds of the clip."""
        if self.shown is None and since > LATE:
            self._write(np.zeros_like(image), Fraction(0))
        elif self.shown is None:
            since = Fraction(0)
        self._write(image, since)
        self.shown, self.until = image, until

    def close(self) -> None:
        """The last image is written again at its end: players and decoders do not know how long it stands."""
        if self.until - Fraction(1, RATE) > self.since:
            self._write(self.shown, self.until - Fraction(1, RATE))
        with naming(self.path):
            self.container.mux(self.stream.encode())
            self.container.close()

    def _write(self, image: np.ndarray, time: Fraction) -> None:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(self.width, self.height, "yuv420p", dst_colorspace=self.colours)
        frame.pts, frame.time_base, self.since = int(time / TIME_BASE), TIME_BASE, time
        with naming(self.path):
            self.container.mux(self.stream.encode(frame))
