"""Decode each clip's video once: the frames in the middle of its ten seconds, for every visual classifier."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, read_media
from scenes.media.clip import read_frames
from scenes.stage.cli import run


def main(
    media: Path,
    out: Path,
    size: Annotated[int, typer.Option(help="height and width of the stored frames, pixels", min=32, max=2048)] = 331,
) -> None:
    clips = read_media(media, "video")
    read = partial(read_frames, size=size)
    map_clips(
        read, clips, (SECONDS, size, size, 3), "uint8", out, inputs=[media, *(Path(path) for path in clips if path)]
    )


if __name__ == "__main__":
    run(main)
