"""Pictures of a clip: the ten frames in the middle of its ten seconds."""

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from scenes.dataset import SECONDS
from scenes.errors import InputError, MediaWarning


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
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no pictures; take its clip out of the setup file")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            start = stream.start_time or 0
            shown: list[np.ndarray] = []
            previous, time = None, Fraction(0)
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise InputError(f"{path}: its pictures have no times; convert it, as by ffmpeg -i it new.mp4")
                time = (frame.pts - start) * stream.time_base
                while previous is not None and len(shown) < SECONDS and times[len(shown)] < time:
                    shown.append(_square(previous, size))
                previous = frame
                if len(shown) == SECONDS:
                    break
            else:
                promised = stream.duration * stream.time_base if stream.duration else Fraction(0)
                _check_whole(path, time, promised)
                # The last frame stays on screen until the stream ends.
                while previous is not None and len(shown) < SECONDS and times[len(shown)] < max(promised, time):
                    shown.append(_square(previous, size))
                if previous is not None and not shown:
                    shown.append(_square(previous, size))
    except av.FFmpegError as error:
        raise InputError(f"{path}: empty, truncated or not a video ({error.strerror}); restore it") from error
    if not shown:
        raise InputError(f"{path}: holds no frame; restore it, or take its clip out of the setup file")
    if len(shown) < SECONDS:
        warnings.warn(f"pictures shorter than {SECONDS} s, repeated to fill them", MediaWarning, stacklevel=2)
    return np.stack([shown[second % len(shown)] for second in range(SECONDS)])


def _check_whole(path: Path | str, last: Fraction, promised: Fraction) -> None:
    if last < Fraction(9, 10) * promised - 1:
        raise InputError(f"{path}: truncated, pictures end at {float(last):.1f} of {float(promised):.1f} s; restore it")


def _square(frame: av.VideoFrame, size: int) -> np.ndarray:
    picture = frame.reformat(width=size, height=size, format="rgb24", interpolation="BILINEAR").to_ndarray()
    return np.rot90(picture, frame.rotation // 90)
