"""Embed each second of every clip's sound by one of the PANNs: the paper's audio embeddings (Section II)."""

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

import numpy as np
import soxr
import typer

from scenes import options, panns
from scenes.audio import read_audio
from scenes.cli import run
from scenes.dataset import SECONDS, read_media
from scenes.errors import InputError, MediaWarning
from scenes.resume import resume_folder
from scenes.shards import map_clips
from scenes.weights import FOLDER, fetch, verify

NONE = Path("none")
ZENODO = "https://zenodo.org/records/3987831/files"
DATASET_RATE = 48_000  # read_audio warns of every other one
ESTIMATION_CLIPS = 4  # for batch norm's statistics of an untrained network


def main(
    media: Path,
    out: Path,
    network: Annotated[str, typer.Option(help="Cnn14, MobileNetV1, Res1dNet31, ResNet38 or Wavegram_Logmel_Cnn14")],
    pretrained: options.Pretrained = True,
    weights: Annotated[Path, typer.Option(help="checkpoint in the published layout; none: the published one")] = NONE,
    unit: Annotated[Literal["second", "clip"], typer.Option(help="an embedding a second, or the clip's ten times")] = (
        "second"
    ),
    layer: Annotated[Literal["pool", "fc1"], typer.Option(help="global pooling, or the dense layer after it")] = "pool",
    precision: options.Precision = "auto",
    seed: options.Seed = 0,
    verify_hash: Annotated[bool, typer.Option(help="hold --weights to the published MD5")] = True,
    weights_dir: Annotated[Path, typer.Option(help="folder of downloads", envvar="SCENES_WEIGHTS")] = FOLDER,
    mirror: Annotated[str, typer.Option(help="source of downloads", envvar="SCENES_PANNS_URL")] = ZENODO,
) -> None:
    clips, published = read_media(media, "audio"), panns.published(network)
    inputs = [Path(path) for path in clips if path]
    if pretrained:
        checkpoint = weights
        if weights == NONE:
            url = f"{mirror}/{quote(published.file)}?download=1"
            checkpoint = fetch(url, weights_dir / published.file, published.md5, published.megabytes)
        elif verify_hash:
            verify(weights, published.md5, "give the published file, or --no-verify-hash")
        inputs.append(checkpoint)
    elif weights == NONE:
        checkpoint = resume_folder(out, inputs) / "untrained.pth"  # removed once the array is whole
        if not checkpoint.exists():
            panns.save(_untrained(network, seed, inputs, unit), checkpoint)
    else:
        raise InputError(f"--weights {weights}: an untrained network takes no weights; give --pretrained or none")
    panns.embedder(network, checkpoint, layer, precision)  # a bad checkpoint fails here
    embed = partial(_embed, name=network, checkpoint=checkpoint, unit=unit, layer=layer, precision=precision)
    map_clips(_read, clips, (SECONDS, published.dimension), "float32", out, inputs, embed)


def _read(path: str | Path) -> np.ndarray:
    """Mono at 32 kHz, `[320000]`: read_audio gives exactly ten seconds, and 48 to 32 kHz keeps them exact."""
    return soxr.resample(read_audio(path, DATASET_RATE).mean(axis=0), DATASET_RATE, panns.RATE)


def _in_units(sounds: np.ndarray, unit: str) -> np.ndarray:
    return sounds if unit == "clip" else sounds.reshape(-1, panns.RATE)


def _untrained(network: str, seed: int, paths: list[Path], unit: str) -> panns.Network:
    """Seeded weights, and batch norm's statistics from clips evenly chosen, two at a time."""
    net = panns.untrained(network, seed)
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(ESTIMATION_CLIPS, len(paths))).astype(int)]
    batches = (np.stack([_read(path) for path in chosen[i : i + 2]]) for i in range(0, len(chosen), 2))
    with warnings.catch_warnings(action="ignore", category=MediaWarning):  # map_clips counts them
        panns.reestimate_batch_norm(net, (_in_units(sounds, unit) for sounds in batches))
    return net


def _embed(sounds: np.ndarray, name: str, checkpoint: Path, unit: str, layer: str, precision: str) -> np.ndarray:
    rows = panns.embedder(name, checkpoint, layer, precision)(_in_units(sounds, unit))
    return np.broadcast_to(rows.reshape(len(sounds), -1, rows.shape[1]), (len(sounds), SECONDS, rows.shape[1]))


if __name__ == "__main__":
    run(main)
