"""Pictures of a clip: the ten frames in the middle of its ten seconds."""

import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from scenes.stage.dataset import SECONDS
from scenes.stage.errors import InputError, MediaWarning


def read_frames(path: Path | str, size: int) -> np.ndarray:
    """Read the frames on screen at 0.5, 1.5, ..., 9.5 s, the whole picture scaled to a square (bilinear, antialiased).

    A clip that ends before a frame's time is repeated from its start, with a `MediaWarning`. Rotation marks (of phone
    videos) are obeyed.

    Parameters
    ----------
    path : Path or str
        A video file that FFmpeg reads.
    size : int
        Height and width of the frames in pixels.

    Returns
    -------
    ndarray
        uint8 `[10, size, size, 3]`, RGB.

    Raises
    ------
    InputError
        If the file is empty, truncated, unreadable, without pictures or without their times.
    """
    times = [Fraction(2 * second + 1, 2) for second in range(SECONDS)]
    with film(path) as (container, stream):
        stream.thread_count = 1  # workers share the cores by clips: with less waiting than by frames
        start = stream.start_time or 0
        shown: list[np.ndarray] = []
        reformatter = VideoReformatter()
        previous, time = None, Fraction(0)
        for frame in _decode(container, stream, [start + moment / stream.time_base for moment in times]):
            time = time_of(frame, stream, path)
            while previous is not None and len(shown) < SECONDS and times[len(shown)] < time:
                shown.append(square(previous, size, reformatter))
            previous = frame
            if len(shown) == SECONDS:
                break
        else:
            promised = duration(stream)
            check_whole(path, time, promised)
            # The last frame stays on screen until the stream ends.
            while previous is not None and len(shown) < SECONDS and times[len(shown)] < max(promised, time):
                shown.append(square(previous, size, reformatter))
            if previous is not None and not shown:
                shown.append(square(previous, size, reformatter))
    if not shown:
        raise InputError(f"{path}: holds no frame; restore it, or take its clip out of the setup file")
    if len(shown) < SECONDS:
        warnings.warn(f"pictures shorter than {SECONDS} s, repeated to fill them", MediaWarning, stacklevel=2)
    return np.stack([shown[second % len(shown)] for second in range(SECONDS)])


@contextmanager
def film(path: Path | str) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a film: the file and its first stream of pictures.

    Raises
    ------
    InputError
        If the file is empty, truncated, unreadable or without pictures, at once or while it is read.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no pictures; leave its clip out")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        if error.errno == ENOSPC:  # of what is written meanwhile
            raise
        raise InputError(f"{path}: empty, truncated or not a video ({error.strerror}); restore it") from error


def has_pictures(path: Path | str) -> bool:
    """Whether a file has a stream of pictures, a cover not counted.

    Raises
    ------
    InputError
        If FFmpeg cannot read the file.
    """
    try:
        with av.open(f"file:{path}") as container:
            return any(not stream.disposition & Disposition.attached_pic for stream in container.streams.video)
    except av.FFmpegError as error:
        raise InputError(f"{path}: empty, truncated or not a video ({error.strerror}); restore it") from error


def time_of(frame: av.VideoFrame, stream: av.VideoStream, path: Path | str) -> Fraction:
    """When a frame comes on screen, in seconds from the start of its stream.

    Raises
    ------
    InputError
        If the film does not say.
    """
    if frame.pts is None:
        raise InputError(f"{path}: its pictures have no times; convert it, as by ffmpeg -i it new.mp4")
    return (frame.pts - (stream.start_time or 0)) * stream.time_base


def duration(stream: av.VideoStream) -> Fraction:
    """The duration that a film's header promises, in seconds (0: nothing)."""
    return stream.duration * stream.time_base if stream.duration else Fraction(0)


def _decode(container: av.container.InputContainer, stream: av.VideoStream, stamps: list) -> Iterator[av.VideoFrame]:
    """Decode in order the frames on screen at the stamps (in units of the stream's time base) and what they refer to.

    Reading a clip costs little but decoding, and about half the frames of a usual film are such that no other refers
    to them: those are left out, unless on screen at a stamp, the last of the film, or without a time of their own.
    """
    packets = []
    for packet in container.demux(stream):
        if packet.size:
            packets.append(packet)
        if packet.dts is not None and packet.dts > stamps[-1]:
            break
    starts = sorted(packet.pts for packet in packets if packet.pts is not None)
    wanted = {None, *starts[-1:], *(starts[max(bisect_right(starts, stamp) - 1, 0)] for stamp in stamps if starts)}
    for packet in packets:
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        yield from stream.decode(packet)
    yield from stream.decode(None)


def check_whole(path: Path | str, last: Fraction, promised: Fraction) -> None:
    """Hold the time of a film's last frame to the duration, in seconds, that its header promises (0: nothing)."""
    if last < Fraction(9, 10) * promised - 1:
        raise InputError(f"{path}: truncated, pictures end at {float(last):.1f} of {float(promised):.1f} s; restore it")


def square(frame: av.VideoFrame, size: int, reformatter: VideoReformatter) -> np.ndarray:
    """The whole picture of a frame, upright, scaled to a square, uint8 `[size, size, 3]`, RGB."""
    picture = reformatter.reformat(frame, width=size, height=size, format="rgb24", interpolation="BILINEAR")
    return np.rot90(picture.to_ndarray(), frame.rotation // 90)
