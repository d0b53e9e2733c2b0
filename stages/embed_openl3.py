"""Embed each clip's sound or pictures with OpenL3 (Cramer et al. 2019), as the DCASE 2021 Task 1B baseline does."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import read_media, train_rows
from scenes.dataset.weights import FOLDER, fetch, verify_blob
from scenes.features.openl3 import DIMENSION, GITHUB, PUBLISHED, WIDTHS
from scenes.features.openl3_embedding import embed, embedder, read_inputs, windows
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError

NONE = Path("none")


def main(
    modality: Annotated[Literal["audio", "visual"], typer.Argument(help="what to embed: audio or visual")],
    media: Path,
    out: Path,
    hop: Annotated[float, typer.Option(help="seconds between two embeddings", min=0.02, max=10.0)] = 0.1,
    widths: Annotated[
        list[int], typer.Option(help="channels of the four blocks; others than published: untrained", min=1, max=4096)
    ] = WIDTHS,
    pretrained: options.Pretrained = True,
    weights: Annotated[Path, typer.Option(help="file in the published layout; none: the published one")] = NONE,
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
    verify_hash: Annotated[bool, typer.Option(help="hold --weights to the published SHA-1")] = True,
    weights_dir: options.WeightsDir = FOLDER,
    mirror: Annotated[str, typer.Option(help="source of downloads", envvar="SCENES_OPENL3_URL")] = GITHUB,
) -> None:
    column = "audio" if modality == "audio" else "video"
    clips = read_media(media, column)
    paths = tuple(path for path in clips if path)
    if not paths:
        raise InputError(f"{media}: no clip has {'sound' if modality == 'audio' else 'pictures'}: nothing to embed")
    if weights != NONE and not pretrained:
        raise InputError(f"--weights {weights}: an untrained network takes no weights; give --pretrained or none")
    checkpoint, published = weights if pretrained else None, PUBLISHED[modality]
    if pretrained and weights == NONE:
        url = f"{mirror}/{published.file}"
        checkpoint = fetch(url, weights_dir / published.file, None, published.megabytes, published.sha1)
    elif pretrained and verify_hash:
        verify_blob(weights, published.sha1, "give the published file, or --no-verify-hash")
    looked_at = paths if pretrained else tuple(clips[row] for row in train_rows(media, column))
    prepare = partial(embedder, modality, looked_at, hop, tuple(widths), checkpoint, precision, seed)
    prepare()  # a bad file of weights fails here
    inputs = [media, *map(Path, paths), *([checkpoint] if checkpoint else [])]
    read = partial(read_inputs, modality=modality, hop=hop)
    map_clips(read, clips, (windows(hop), DIMENSION), "float32", out, inputs, partial(_embed, prepare=prepare))


def _embed(inputs, prepare: partial):
    return embed(inputs, prepare())


if __name__ == "__main__":
    run(main)
