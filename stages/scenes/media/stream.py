"""A recording of any length, read as a stream: ten seconds of its sound and pictures at a time.

Ten seconds are what the networks were trained on: windows follow one another, and the last one reaches back to be
whole. A window of a ten-second clip holds what `scenes.media.clip` reads of it.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.media.clock import LEAP
from scenes.media.container import open_media
from scenes.media.pictures import Painter, Picture
from scenes.media.sound import Sound, stereo
from scenes.media.tracks import FIRST
from scenes.stage.errors import InputError


class Window(NamedTuple):
    """Up to ten seconds of a file."""

    start: int  # seconds from the file's start
    sound: np.ndarray | None  # float32 [2, samples]
    pictures: np.ndarray | None  # uint8 [seconds, size, size, 3]: those on screen at 0.5, 1.5, ... s
    whole: bool  # nothing will be added: it has its ten seconds, or the file ends
    unseen: int = 0  # seconds at its beginning that have no picture: the first one stands there
    warnings: list[str] = []  # of the file: a list that grows while it is read  # noqa: RUF012


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
        If a file is unreadable, or has neither sound nor pictures that are wanted.
    """
    with ExitStack() as stack:
        film = stack.enter_context(open_media(path))
        heard = stack.enter_context(open_media(audio, needs="audio")) if audio else film
        files = [film] if heard is film else [film, heard]
        tracks = {
            **({Picture: _Pictures(size, film.stated(film.pictures))} if size and film.has_pictures else {}),
            **({Sound: _Sound(rate)} if rate and heard.has_sound else {}),
        }
        if not tracks:
            wanted = " or ".join(kind for kind, want in (("video", size), ("audio", rate)) if want)
            raise InputError(f"{film.name}: has no {wanted}, which the chosen members need")
        parts = [
            file.blocks(sound=Sound in tracks and file is heard, pictures=Picture in tracks and file is film, rate=rate)
            for file in files
        ]
        if heard is not film:
            film.warnings += heard.warnings
            heard.warnings = film.warnings
        for window in _cut(heapq.merge(*parts, key=lambda block: block[0]), tracks, every):
            yield window._replace(warnings=film.warnings)


def _cut(blocks: Iterator[Sound | Picture], tracks: dict, every: int) -> Iterator[Window]:
    start = told = 0
    for block in blocks:
        tracks[type(block)].add(block)
        furthest = max(track.seconds for track in tracks.values())
        # A track that lags by more counts as over until it goes on.
        while furthest >= told + every and all(
            track.seconds >= told + every or furthest - track.seconds > LEAP for track in tracks.values()
        ):
            told += every
            for track in tracks.values():
                track.stand(told)
            yield _window(tracks, start, told, told - start == SECONDS)
            start = told if told - start == SECONDS else start
    for track in tracks.values():
        track.close()
    total = max(track.seconds for track in tracks.values())
    while start + SECONDS <= total and told < total:  # one track went on for long without the other
        told = start + SECONDS
        yield _window(tracks, start, told, True)
        start = told
    if told < total or start < total:
        yield _window(tracks, max(0, total - SECONDS), total, True)


def _window(tracks: dict, start: int, stop: int, whole: bool) -> Window:
    sound = tracks[Sound].cut(start, stop) if Sound in tracks else None
    pictures, unseen = tracks[Picture].cut(start, stop) if Picture in tracks else (None, 0)
    return Window(start, sound, pictures, whole, unseen)


class _Sound:
    """Sound read so far, of which the last ten seconds and what has not been told are kept."""

    def __init__(self, rate: int):
        self.rate, self.blocks, self.first, self.samples, self.closed = rate, deque(), 0, 0, False

    def add(self, block: Sound) -> None:
        self.blocks.append(stereo(block.samples))
        self.samples += block.samples.shape[1]

    def stand(self, until: int) -> None:
        """Silence is read as such."""

    def close(self) -> None:
        self.closed = True

    @property
    def seconds(self) -> int:
        """Seconds heard: once it is over, one that is heard to its middle counts."""
        return math.ceil(self.samples / self.rate - 0.5) if self.closed else self.samples // self.rate

    def cut(self, start: int, stop: int) -> np.ndarray | None:
        while self.blocks and self.first + self.blocks[0].shape[1] <= (stop - SECONDS) * self.rate:
            self.first += self.blocks.popleft().shape[1]
        if self.seconds <= start:
            return None
        return np.concatenate(self.blocks, axis=1)[:, start * self.rate - self.first : stop * self.rate - self.first]


class _Pictures:
    """The picture on screen in the middle of each second, of which the last ten and what has not been told are kept."""

    def __init__(self, size: int, stated: Fraction | None):
        self.size, self.stated, self.painter, self.before = size, stated or 0, Painter(), None
        self.shown, self.seconds = deque(), 0  # None where there is none

    def add(self, picture: Picture) -> None:
        if self.before is None and picture.frame:
            while (early := picture.since - self.seconds - Fraction(1, 2)) > 0:
                self._show(picture.frame if early < FIRST else None)
        while self.before and self.seconds + Fraction(1, 2) < picture.since:
            self._show(self.before)
        if self.before and picture.frame is None and not self.seconds:  # what is over in no time has one
            self._show(self.before)
        self.before = picture.frame

    def stand(self, until: int) -> None:
        """The last picture stands where its track is said to go on, however late the next one comes."""
        while self.before and self.seconds < min(until, self.stated):
            self._show(self.before)

    def close(self) -> None:
        """Its end has come as a picture without a frame."""

    def _show(self, frame) -> None:
        self.shown.append(None if frame is None else self.painter.square(frame, self.size))
        self.seconds += 1

    def cut(self, start: int, stop: int) -> tuple[np.ndarray | None, int]:
        """The pictures of some seconds, and how many seconds have none before the first."""
        while self.shown and self.seconds - len(self.shown) < stop - SECONDS:
            self.shown.popleft()
        first = self.seconds - len(self.shown)
        pictures = list(self.shown)[max(0, start - first) : max(0, stop - first)]
        unseen = sum(picture is None for picture in pictures)
        if unseen == len(pictures):
            return None, 0
        return np.stack([pictures[unseen] if picture is None else picture for picture in pictures]), unseen
