"""Video frames of a recording: their times on the axis, upright, in the colours that players show."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

UNSPECIFIED = 2  # FFmpeg's number where a video does not say how its colours are coded
HD = 1280, 576  # a wider or higher video that does not say is BT.709
PQ, HLG = 16, 18


class Picture(NamedTuple):
    """A video frame and when it comes on screen, in seconds on the axis; without a frame: when the last one goes."""

    since: Fraction
    frame: av.VideoFrame | None


class Viewing:
    """Gives the frames of a track their times on the axis.

    Parameters
    ----------
    track : VideoStream
        Its frames per second are for those that do not say their times.
    """

    def __init__(self, track: av.VideoStream):
        self.rate, self.base = Fraction(track.average_rate or 25), track.time_base
        self.last, self.lasts, self.count, self.timeless = Fraction(-1), Fraction(0), 0, False

    def add(self, frame: av.VideoFrame, time: Fraction | None) -> Iterator[Picture]:
        """Put a frame at its time; None: after the one before it. What comes no later than that one is left out."""
        if time is None:
            time, self.timeless = max(self.last, Fraction(0)) + (self.lasts if self.count else 0), True
        time = max(time, Fraction(0))
        if time > self.last:
            self.last, self.count = time, self.count + 1
            self.lasts = max(0, frame.duration or 0) * self.base or 1 / self.rate
            yield Picture(time, frame)

    def end(self, stated: Fraction | None, bound: Fraction) -> Fraction:
        """When the last frame goes: after as long as it says, or where its track is said to end if that is near.

        A single frame stands to its track's end; none stands beyond `bound`.
        """
        end = self.last + self.lasts
        if stated is not None and end < stated and (stated <= end + 1 or self.count == 1):
            end = stated
        return max(self.last, min(end, bound)) if self.count else Fraction(0)


class Standing(NamedTuple):
    """A frame and from when until when it is on screen, in seconds on the axis."""

    since: Fraction
    until: Fraction
    frame: av.VideoFrame


def standing(pictures: Iterator[Picture]) -> Iterator[Standing]:
    """Each frame with the time of the next."""
    before = None
    for picture in pictures:
        if before:
            yield Standing(before.since, picture.since, before.frame)
        before = picture


class Painter:
    """Turns frames into RGB, upright, of one size after another."""

    def __init__(self) -> None:
        self.reformatter = VideoReformatter()

    def square(self, frame: av.VideoFrame, size: int) -> np.ndarray:
        """The whole frame scaled to a square (bilinear, antialiased), uint8 `[size, size, 3]`, RGB."""
        return self.paint(frame, size, size)

    def paint(self, frame: av.VideoFrame, width: int | None = None, height: int | None = None) -> np.ndarray:
        """A frame scaled to a width and height before it is turned upright, uint8 `[height, width, 3]`, RGB."""
        untagged = frame.colorspace == UNSPECIFIED and (frame.width >= HD[0] or frame.height > HD[1])
        colours = {"src_colorspace": Colorspace.ITU709} if untagged and not frame.format.is_rgb else {}
        if frame.color_trc in (PQ, HLG):
            colours |= {"dst_color_trc": ColorTrc.BT709, "dst_color_primaries": ColorPrimaries.BT709}
        image = self.reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", **colours
        )
        return upright(image.to_ndarray(), frame)


def upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn and mirror `[height, width, 3]` by a frame's display matrix, as FFmpeg does by quarters."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return image
    a, b, _, c, d = np.frombuffer(bytes(data)[:20], np.int32).tolist()
    if abs(b) > abs(a):  # a quarter turn: rows and columns change places
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
