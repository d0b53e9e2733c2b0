"""A film or recording of any length, read as a stream: ten seconds of its sound and pictures at a time.

Ten seconds are what the networks were trained on: windows follow one another, and the last one reaches back to be
whole. A window of a ten-second clip holds what `scenes.audio.read_audio` and `scenes.video.read_frames` give.
"""

import heapq
import math
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import soxr
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from scenes.audio import stereo
from scenes.stage.dataset import SECONDS
from scenes.stage.errors import InputError
from scenes.video import square

# Seconds that one stream may lag behind the other before it counts as over.
PATIENCE = 10
# FFmpeg has to guess how long these are.
WITHOUT_DURATION = {"aac", "mp3"}


class Window(NamedTuple):
    """Up to ten seconds of a file."""

    start: int  # seconds from the file's start
    sound: np.ndarray | None  # float32 [2, samples]
    pictures: np.ndarray | None  # uint8 [seconds, size, size, 3]: those on screen at 0.5, 1.5, ... s
    whole: bool  # nothing will be added: it has its ten seconds, or the file ends


def windows(path: str, audio: str | None, rate: int | None, size: int | None, every: int = SECONDS) -> Iterator[Window]:
    """Read a file's windows, in memory that does not grow with its length.

    Parameters
    ----------
    path : str
        A file that FFmpeg reads, or `-` for standard input.
    audio : str or None
        The file whose sound is taken instead.
    rate : int or None
        Samples per second wanted; None if nobody listens.
    size : int or None
        Height and width wanted of the pictures; None if nobody looks.
    every : int
        Yield a window whenever so many more seconds have been read, which is a part of it if less than ten.

    Raises
    ------
    InputError
        If a file is unreadable, truncated, or has neither sound nor pictures that are wanted.
    """
    try:
        with ExitStack() as stack:
            kept = stack.enter_context(tempfile.TemporaryFile())
            film = stack.enter_context(av.open(_Pipe(sys.stdin.buffer, kept) if path == "-" else path))
            heard = stack.enter_context(av.open(audio)) if audio else film
            filmed = [s for s in film.streams.video if not s.disposition & Disposition.attached_pic]
            tracks = {
                **({filmed[0]: _Pictures(filmed[0], size)} if size and filmed else {}),
                **({heard.streams.audio[0]: _Sound(rate)} if rate and heard.streams.audio else {}),
            }
            if not tracks:
                wanted = " and ".join(kind for kind, want in (("pictures", size), ("sound", rate)) if want)
                raise InputError(f"{path}: has no {wanted}, which is all that these members know of")
            sources = [
                container.demux([stream for stream in tracks if stream.container is container])
                for container in {film, heard}
                if any(stream.container is container for stream in tracks)
            ]
            yield from _cut(heapq.merge(*sources, key=_time), tracks, every)
            for container in {film, heard}:
                _check_whole(path if container is film else audio, container, tracks)
    except av.FFmpegError as error:
        raise InputError(f"{path}: empty, truncated or not a film or sound ({error.strerror})") from error


def _cut(packets: Iterator[av.Packet], tracks: dict, every: int) -> Iterator[Window]:
    start = told = 0
    for packet in packets:
        track = tracks[packet.stream]
        for frame in packet.decode():
            track.add(frame)
        furthest = max(other.seconds for other in tracks.values())
        while all(not told + every > other.seconds > furthest - PATIENCE for other in tracks.values()) and (
            furthest >= told + every
        ):
            told += every
            yield _window(tracks.values(), start, told, told - start == SECONDS)
            start = told if told - start == SECONDS else start
    for track in tracks.values():
        track.close()
    total = max(track.seconds for track in tracks.values())
    while start + SECONDS <= total and told < total:  # one stream went on for long without the other
        told = start + SECONDS
        yield _window(tracks.values(), start, told, True)
        start = told
    if told < total or start < total:
        yield _window(tracks.values(), max(0, total - SECONDS), total, True)


def _window(tracks: list, start: int, stop: int, whole: bool) -> Window:
    parts = {type(track): track.cut(start, stop) for track in tracks}
    return Window(start, parts.get(_Sound), parts.get(_Pictures), whole)


def _time(packet: av.Packet) -> float:
    return math.inf if packet.dts is None else float(packet.dts * packet.time_base)


def _check_whole(path: str, container: av.container.InputContainer, tracks: dict) -> None:
    promised = (container.duration or 0) / av.time_base
    ends = [track.end for stream, track in tracks.items() if stream.container is container]
    if ends and max(ends) < 0.9 * promised - 1 and container.format.name not in WITHOUT_DURATION:
        raise InputError(f"{path}: truncated, ends at {float(max(ends)):.1f} of {promised:.1f} s; restore it")


class _Pipe:
    """A pipe that can be sought in, as films need whose index is at their end: what has been read is kept on disk."""

    def __init__(self, source: BinaryIO, kept: BinaryIO):
        self.source, self.kept, self.length, self.position = source, kept, 0, 0

    def read(self, size: int) -> bytes:
        self._keep(self.position + size)
        self.kept.seek(self.position)
        data = self.kept.read(size)
        self.position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            self._keep(math.inf)
        self.position = offset + (0, self.position, self.length)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def _keep(self, end: float) -> None:
        self.kept.seek(self.length)
        while self.length < end and (block := self.source.read1(2**16)):
            self.length += self.kept.write(block)


class _Sound:
    """Sound read so far, of which the last ten seconds and what has not been told are kept."""

    def __init__(self, rate: int):
        self.rate, self.planar, self.resampler = rate, av.AudioResampler(format="fltp"), None
        self.blocks, self.first, self.samples, self.closed = deque(), 0, 0, False

    def add(self, frame: av.AudioFrame) -> None:
        if frame.sample_rate != self.rate and self.resampler is None:
            self.resampler = soxr.ResampleStream(frame.sample_rate, self.rate, 2)
        for block in self.planar.resample(frame):
            sound = stereo(block.to_ndarray())
            if not np.isfinite(sound).all():
                raise InputError("sound with samples that are not finite numbers; export it again")
            self._keep(self.resampler.resample_chunk(np.ascontiguousarray(sound.T)).T if self.resampler else sound)

    def close(self) -> None:
        if self.resampler:
            self._keep(self.resampler.resample_chunk(np.empty((0, 2), np.float32), last=True).T)
        self.closed = True

    def _keep(self, sound: np.ndarray) -> None:
        self.blocks.append(sound)
        self.samples += sound.shape[1]

    @property
    def end(self) -> float:
        return self.samples / self.rate

    @property
    def seconds(self) -> int:
        """Seconds heard: once it is over, one that is heard to its middle counts."""
        return math.ceil(self.end - 0.5) if self.closed else int(self.end)

    def cut(self, start: int, stop: int) -> np.ndarray | None:
        while self.blocks and self.first + self.blocks[0].shape[1] <= (stop - SECONDS) * self.rate:
            self.first += self.blocks.popleft().shape[1]
        if self.seconds <= start:
            return None
        return np.concatenate(self.blocks, axis=1)[:, start * self.rate - self.first : stop * self.rate - self.first]


class _Pictures:
    """The picture on screen in the middle of each second, of which the last ten and what has not been told are kept."""

    def __init__(self, stream: av.VideoStream, size: int):
        stream.thread_type = "AUTO"
        self.stream, self.size, self.reformatter = stream, size, VideoReformatter()
        self.start, self.previous, self.end, self.frames = stream.start_time or 0, None, Fraction(0), 0
        self.shown, self.seconds = deque(), 0

    def add(self, frame: av.VideoFrame) -> None:
        if frame.pts is None:  # a bare stream of pictures
            self.end = Fraction(self.frames) / (self.stream.average_rate or 25)
        else:
            self.end = (frame.pts - self.start) * self.stream.time_base
        self._show(self.end)
        self.previous, self.frames = frame, self.frames + 1

    def close(self) -> None:
        """The last picture stays on screen until the stream ends; what is over in no time has one."""
        if self.previous is not None:
            promised = (self.stream.duration or 0) * self.stream.time_base
            self._show(max(self.end, min(promised, self.end + 1)))
            if not self.seconds:
                self._show(Fraction(1))

    def _show(self, until: Fraction) -> None:
        while self.previous is not None and self.seconds + Fraction(1, 2) < until:
            self.shown.append(square(self.previous, self.size, self.reformatter))
            self.seconds += 1

    def cut(self, start: int, stop: int) -> np.ndarray | None:
        while len(self.shown) and self.seconds - len(self.shown) < stop - SECONDS:
            self.shown.popleft()
        first = self.seconds - len(self.shown)
        pictures = list(self.shown)[start - first : stop - first]
        return np.stack(pictures) if pictures else None
