"""Disturb the evaluate clips' frames, as of a bad camera: out of focus, in little light, with something before it."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import Rows, open_rows, read_split
from scenes.media.disturbance import FRAMES, block, blur, clip_generator, darken, parse
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError


def main(
    split: Path,
    frames: Annotated[Path, typer.Argument(help="the frames of all clips")],
    out: Path,
    disturbance: Annotated[
        list[str],
        typer.Option(
            help="blur:SIGMA of a Gaussian, as a part of the height; light:PART that is left; cover:PART of the picture"
        ),
    ] = (),
    seed: options.Seed = 0,
) -> None:
    if not disturbance:
        raise InputError(
            "--disturbance is missing: list a condition, such as blur:0.01, in robustness.frames.disturbance"
        )
    disturbances, clips = parse(disturbance, FRAMES), read_split(split)
    stored = open_rows(frames, clips)
    evaluated = clips.loc[clips["fold"] == "evaluate", "video"]
    rows = {path: row for row, path in evaluated.items()}
    read = partial(_disturbed, stored=stored, rows=rows, disturbances=disturbances, seed=seed)
    map_clips(read, list(evaluated), (len(disturbances), *stored.shape[1:]), "uint8", out, inputs=[split, frames])


def _disturbed(
    path: str, stored: Rows, rows: dict[str, int], disturbances: list[tuple[str, float]], seed: int
) -> np.ndarray:
    """A clip's frames under each condition, `[conditions, 10, S, S, 3]`."""
    frames = stored[rows[path]]
    changes = {
        "blur": partial(blur, frames),
        "light": partial(darken, frames),
        "cover": lambda part: block(frames, part, clip_generator(seed, path)),
    }
    return np.stack([changes[kind](level) for kind, level in disturbances])


if __name__ == "__main__":
    run(main)
