"""Time reading the ten frames of a clip against OpenCV, on one core: the pipeline's workers share the cores by clips.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/frames.py FOLDER_OF_MP4_FILES ...
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import typer
from measure import machine, median_seconds, show

from scenes.dataset.tables import SECONDS
from scenes.media.clip import read_frames


def grabbed(path: Path, size: int) -> np.ndarray:
    """The ten frames by OpenCV: `grab()` for every frame, `retrieve()` for ten."""
    film = cv2.VideoCapture(str(path))
    wanted = ((np.arange(SECONDS) + 0.5) * film.get(cv2.CAP_PROP_FPS)).astype(int)
    chosen = []
    for number in range(wanted[-1] + 1):
        film.grab()
        if number in wanted:
            chosen.append(scaled(film.retrieve()[1], size))
    return np.stack(chosen)


def read_whole(path: Path, size: int) -> np.ndarray:
    """The ten frames by OpenCV: `read()` of every frame."""
    film = cv2.VideoCapture(str(path))
    wanted = ((np.arange(SECONDS) + 0.5) * film.get(cv2.CAP_PROP_FPS)).astype(int)
    pictures = [film.read()[1] for _ in range(wanted[-1] + 1)]
    return np.stack([scaled(pictures[number], size) for number in wanted])


def scaled(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def all_of(way: Callable, clips: list[Path], size: int) -> None:
    for clip in clips:
        way(clip, size)


def main(folders: list[Path], size: int = 331, clips: int = 4, repeats: int = 5) -> None:
    """Print milliseconds a clip, for clips of each size of picture found."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"Frames, one core ({machine('av', 'opencv-python-headless')}), ms a clip:\n")
    kinds: dict[str, list[Path]] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.mp4")):
        with av.open(str(path)) as film:
            pictures = film.streams.video[0]
            kinds.setdefault(f"{pictures.width}x{pictures.height} {pictures.format.name}", []).append(path)
    rows = []
    for kind, paths in kinds.items():
        chosen = paths[:clips]
        ways = {"read every": read_whole, "grab, retrieve ten": grabbed, "ours": read_frames}
        seconds = median_seconds({name: partial(all_of, way, chosen, size) for name, way in ways.items()}, repeats)
        milliseconds = [f"{1e3 * time / len(chosen):.0f}" for time in seconds.values()]
        ratio = seconds["grab, retrieve ten"] / seconds["ours"]
        rows.append([f"{len(chosen)} clips of {kind}", *milliseconds, f"{ratio:.2f}"])
    show(["", "OpenCV, read every frame", "OpenCV, grab every, retrieve ten", "ours", "ratio to the second"], rows)


if __name__ == "__main__":
    typer.run(main)
