"""Cutting recordings of any length into clips of ten seconds: sound as wav, pictures as mp4."""

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
from av.video.reformatter import VideoReformatter

from scenes.audio import has_sound, read_sound
from scenes.recordings import Recording
from scenes.stage.dataset import SECONDS, SETUP_COLUMNS
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_json, writing
from scenes.video import check_whole, duration, film, time_of

TOLERANCE = Fraction(1, 10)  # seconds that a last clip may lack
LONGER_SIDE = 1280  # pixels, as in TAU Urban Audio-Visual Scenes 2021; larger films are made smaller
RATE = 30  # frames a second, for the encoder's rate control; each frame keeps its own time
TIME_BASE = Fraction(1, 90_000)


class Piece(NamedTuple):
    """A frame that is on screen in a clip, from when until when, in seconds of the clip."""

    clip: int
    since: Fraction
    until: Fraction
    frame: av.VideoFrame


def cut_recording(recording: Recording, folder: Path) -> list[dict[str, str]]:
    """Cut a recording into clips, unless an earlier run did.

    Parameters
    ----------
    recording : Recording
    folder : Path
        With folders `audio` and `video` for the clips, and `done` for telling what is whole.

    Returns
    -------
    list of dict
        A row a clip: `scene, city, location` and the columns of a setup file, empty where the clip lacks the file.

    Raises
    ------
    InputError
        If the recording cannot be read to its end.
    """
    sources = [path for path in (recording.video, recording.audio) if path]
    state = repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources])
    done = folder / "done" / f"{recording.name}.json"
    if done.exists() and (earlier := json.loads(done.read_text(encoding="utf-8")))["state"] == state:
        return earlier["rows"]

    def clip(kind: str, index: int) -> str:
        return f"{kind}/{recording.name}_{index + 1:03}.{'wav' if kind == 'audio' else 'mp4'}"

    pictures, sounds = 0, 0
    if recording.video:
        pictures = cut_pictures(recording.video, lambda index: folder / clip("video", index))
    heard = recording.audio or (recording.video if has_sound(recording.video) else None)
    if heard:
        sounds = cut_sound(heard, lambda index: folder / clip("audio", index), pictures or None)
    rows = []
    for index in range(max(pictures, sounds)):
        files = (clip("audio", index) if index < sounds else "", clip("video", index) if index < pictures else "")
        named = dict(zip(SETUP_COLUMNS, (*files, recording.scene), strict=True))
        rows.append({"scene": recording.scene, "city": recording.city, "location": recording.location, **named})
    write_json(done, {"state": state, "rows": rows})
    return rows


def clips_in(seconds: float | Fraction) -> int:
    """How many clips a recording gives: one if it is shorter; a remainder is dropped."""
    return max(1, int((seconds + TOLERANCE) // SECONDS))


def cut_sound(path: Path, clip: Callable[[int], Path], count: int | None) -> int:
    """Write the sound of a recording as 24-bit wavs, at its own rate and with its own channels.

    Parameters
    ----------
    path : Path
    clip : callable
        From the number of a clip to its file.
    count : int or None
        How many clips to write at most; None: as many as the sound gives.

    Returns
    -------
    int
        How many were written: fewer where less than a second is left for the next.

    Raises
    ------
    InputError
        As for `scenes.audio.read_sound`.
    """
    sound, rate = read_sound(path)
    whole = clips_in(sound.shape[1] / rate) if count is None else count
    pieces = [sound[:, index * SECONDS * rate : (index + 1) * SECONDS * rate] for index in range(whole)]
    pieces = [piece for index, piece in enumerate(pieces) if index == 0 or piece.shape[1] >= rate]
    for index, piece in enumerate(pieces):
        with writing(clip(index)) as temporary:
            soundfile.write(temporary, piece.T, rate, subtype="PCM_24")
    return len(pieces)


def cut_pictures(path: Path, clip: Callable[[int], Path]) -> int:
    """Write the pictures of a recording as H.264 mp4s without sound, upright, each frame at its own time.

    They are encoded anew: a cut without that would have to wait for a key frame.

    Parameters
    ----------
    path : Path
    clip : callable
        From the number of a clip to its file.

    Returns
    -------
    int
        How many clips there are.

    Raises
    ------
    InputError
        If the file is empty, truncated, unreadable or without pictures.
    """
    with film(path) as (container, stream):
        stream.thread_type = "AUTO"
        index, end = None, Fraction(0)
        for index, shown in groupby(_in_clips(path, container, stream), key=lambda piece: piece.clip):
            end = _encode(clip(index), shown)
    if index is None:
        raise InputError(f"{path}: holds no frame")
    count = clips_in(index * SECONDS + end)
    for extra in range(count, index + 1):
        clip(extra).unlink()
    return count


def _in_clips(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[Piece]:
    """What is on screen, in order; a frame that is on screen at a cut comes in both clips."""
    promised = duration(stream)
    previous, since, gap = None, Fraction(0), TOLERANCE
    for frame in container.decode(stream):
        time = max(time_of(frame, stream, path), Fraction(0))
        if previous is None:
            previous = frame
        elif time > since:
            yield from _pieces(previous, since, time)
            previous, since, gap = frame, time, time - since
    check_whole(path, since, promised)
    if previous is not None:
        # The last frame stays on screen until the stream ends, or as long as the one before it.
        yield from _pieces(previous, since, max(promised, since + gap))


def _pieces(frame: av.VideoFrame, since: Fraction, until: Fraction) -> Iterator[Piece]:
    for clip in range(int(since // SECONDS), ceil(until / SECONDS)):
        begin = clip * SECONDS
        yield Piece(clip, max(since - begin, Fraction(0)), min(until - begin, Fraction(SECONDS)), frame)


def _encode(path: Path, shown: Iterator[Piece]) -> Fraction:
    """Write the film of a clip; returns when it ends."""
    reformatter = VideoReformatter()
    stream = None

    def write(picture: np.ndarray, time: Fraction) -> None:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = int(time / TIME_BASE), TIME_BASE
        container.mux(stream.encode(frame))

    with av.open(str(path), "w", container_options={"fflags": "bitexact"}) as container:
        for piece in shown:
            sides = piece.frame.width, piece.frame.height
            width, height = (max(2, int(side * min(1, LONGER_SIDE / max(sides))) // 2 * 2) for side in sides)
            picture = reformatter.reformat(piece.frame, width=width, height=height, format="rgb24").to_ndarray()
            picture = np.ascontiguousarray(np.rot90(picture, piece.frame.rotation // 90))
            if stream is None:
                options = {"preset": "veryfast", "crf": "18", "threads": "1"}
                stream = container.add_stream("libx264", rate=RATE, options=options, pix_fmt="yuv420p")
                stream.height, stream.width = picture.shape[:2]
                stream.codec_context.time_base = TIME_BASE
            write(picture, piece.since)
        # A picture that stands still is written again at its end: players and decoders know no end of a last frame.
        if piece.until - Fraction(1, RATE) > piece.since:
            write(picture, piece.until - Fraction(1, RATE))
        container.mux(stream.encode())
    return piece.until
