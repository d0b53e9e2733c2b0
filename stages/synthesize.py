"""Make the demo set: synthetic clips in the layout of TAU Urban Audio-Visual Scenes 2021, on the spot, from a seed."""

import os
import tempfile
import warnings
from contextlib import closing
from pathlib import Path
from typing import Annotated, NamedTuple

import joblib
import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from scenes.demo.audio import soundscape, write_wav
from scenes.demo.video import SCENES, frames, write_mp4
from scenes.stage.cli import leave_signals, run
from scenes.stage.errors import InputError
from scenes.stage.options import Seed
from scenes.stage.outputs import naming

CITIES = ["barcelona", "helsinki", "lisbon", "london", "lyon", "milan", "paris", "prague", "stockholm", "vienna"]
SECONDS = 10


class Clip(NamedTuple):
    name: str
    scene: str
    fold: str
    location: int
    segment: int


def plan(train: int, evaluate: int, locations: int) -> list[Clip]:
    """The clips of the set: train clips dealt round over their class's `locations`, evaluate clips one a location."""
    clips = []
    for index, scene in enumerate(sorted(SCENES)):
        first = index * (locations + evaluate)
        train_places = [("train", first + clip % locations) for clip in range(train)]
        evaluate_places = [("evaluate", first + locations + clip) for clip in range(evaluate)]
        for fold, location in train_places + evaluate_places:
            segment = len(clips)
            name = f"{scene}-{CITIES[location % len(CITIES)]}-{location}-{segment}"
            clips.append(Clip(name, scene, fold, location, segment))
    return clips


def make(clip: Clip, folder: Path, seed: int, size: tuple[int, int], fps: int) -> None:
    """Write the wav and the mp4 of one `clip`."""

    def generators(kind: int) -> tuple[np.random.Generator, np.random.Generator]:
        # the location's generator starts anew for every clip: what it draws is what the location's clips share
        return np.random.default_rng([seed, kind, clip.location]), np.random.default_rng([seed, kind + 2, clip.segment])

    sound = soundscape(clip.scene, *generators(0), SECONDS)
    with naming(wav := folder / "audio" / f"{clip.name}.wav"):
        write_wav(wav, sound)
    pictures = frames(clip.scene, *generators(1), np.arange(SECONDS * fps) / fps, *size)
    with naming(mp4 := folder / "video" / f"{clip.name}.mp4"):
        write_mp4(mp4, pictures, size, fps, sound)


def main(
    out: Path,
    train: Annotated[int, typer.Option(min=1, max=10_000, help="train clips a class")] = 5,
    evaluate: Annotated[
        int, typer.Option(min=1, max=10_000, help="evaluate clips a class, each of a location of its own")
    ] = 2,
    locations: Annotated[int, typer.Option(min=1, max=10_000, help="train locations a class")] = 4,
    seed: Seed = 0,
    width: Annotated[int, typer.Option(min=16, max=4096, help="pixels, even")] = 320,
    height: Annotated[int, typer.Option(min=16, max=4096, help="pixels, even")] = 180,
    fps: Annotated[int, typer.Option(min=1, max=120, help="pictures a second")] = 24,
) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already, and not empty; remove it or name another folder")
    if width % 2 or height % 2:
        raise InputError(f"--width {width} --height {height}: H.264 needs even numbers")
    clips = plan(train, evaluate, locations)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as temporary:
        folder = Path(temporary) / out.name
        for name in ("audio", "video", "evaluation_setup"):
            (folder / name).mkdir(parents=True)
        jobs = (joblib.delayed(make)(clip, folder, seed, (width, height), fps) for clip in clips)
        done = joblib.Parallel(n_jobs=-1, return_as="generator_unordered", initializer=leave_signals)(jobs)
        with warnings.catch_warnings(action="ignore"), closing(done):
            for _ in tqdm(done, desc="synthesize", unit="clip", total=len(clips)):
                pass
        for fold in ("train", "evaluate"):
            rows = [(f"audio/{c.name}.wav", f"video/{c.name}.mp4", c.scene) for c in clips if c.fold == fold]
            table = pd.DataFrame(rows, columns=["filename_audio", "filename_video", "scene_label"])
            table.to_csv(folder / "evaluation_setup" / f"fold1_{fold}.csv", sep="\t", index=False)
        os.replace(folder, out)


if __name__ == "__main__":
    run(main)
