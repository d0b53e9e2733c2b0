"""Embed each second of every clip's sound by one of the PANNs: the paper's audio embeddings (Section II)."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.dataset.shards import map_clips
from scenes.dataset.tables import SECONDS, read_media
from scenes.dataset.weights import FOLDER, verify
from scenes.features import panns, panns_checkpoints, panns_embedder
from scenes.features.audio_embedding import DATASET_RATE, ZENODO, embed, mono, published, untrained
from scenes.media.clip import read_audio
from scenes.stage import options
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.resume import resume_folder

NONE = Path("none")


def main(
    media: Path,
    out: Path,
    network: Annotated[str, typer.Option(help="Cnn14, MobileNetV1, Res1dNet31, ResNet38 or Wavegram_Logmel_Cnn14")],
    pretrained: options.Pretrained = True,
    weights: Annotated[Path, typer.Option(help="checkpoint in the published layout; none: the published one")] = NONE,
    unit: options.Unit = "second",
    layer: Annotated[Literal["pool", "fc1"], typer.Option(help="global pooling, or the dense layer after it")] = "pool",
    precision: options.Precision = "float32",
    seed: options.Seed = 0,
    verify_hash: Annotated[bool, typer.Option(help="hold --weights to the published MD5")] = True,
    weights_dir: options.WeightsDir = FOLDER,
    mirror: Annotated[str, typer.Option(help="source of downloads", envvar="SCENES_PANNS_URL")] = ZENODO,
) -> None:
    clips, dimension = read_media(media, "audio"), panns.published(network).dimension
    inputs = [media, *(Path(path) for path in clips if path)]
    if pretrained:
        checkpoint = weights
        if weights == NONE:
            checkpoint = published(network, weights_dir, mirror)
        elif verify_hash:
            verify(weights, panns.published(network).md5, "give the published file, or --no-verify-hash")
        inputs.append(checkpoint)
    elif weights == NONE:
        checkpoint = resume_folder(out, inputs) / "untrained.pth"  # removed once the array is whole
        if not checkpoint.exists():
            panns_checkpoints.save(untrained(network, seed, media, unit), checkpoint)
    else:
        raise InputError(f"--weights {weights}: an untrained network takes no weights; give --pretrained or none")
    panns_embedder.embedder(network, checkpoint, layer, precision)  # a bad checkpoint fails here
    embed = partial(_embed, name=network, checkpoint=checkpoint, unit=unit, layer=layer, precision=precision)
    map_clips(_read, clips, (SECONDS, dimension), "float32", out, inputs, embed)


def _read(path: str | Path) -> np.ndarray:
    return mono(read_audio(path, DATASET_RATE))


def _embed(sounds: np.ndarray, name: str, checkpoint: Path, unit: str, layer: str, precision: str) -> np.ndarray:
    return embed(sounds, panns_embedder.embedder(name, checkpoint, layer, precision), unit)


if __name__ == "__main__":
    run(main)
