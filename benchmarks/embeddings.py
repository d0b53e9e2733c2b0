"""Time all networks that embed a recording, in seconds of processor per second of recording, float32 and bfloat16.

Foundation models of the published sizes, PANNs and Keras applications, all with random weights, a second or a frame at
a time as their stages do it, on a minute of recordings: clips are repeated where there are fewer than six. Decoding
and resizing to data/frames.npy are left out; resampling, spectrograms and image processors count.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/embeddings.py FOLDER_OF_MP4_FILES [FOLDER_OF_WAV_FILES]
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import typer
import yaml
from measure import machine, show

from scenes.classifiers import image_networks
from scenes.features import panns, panns_checkpoints, panns_embedder, visual_embedding
from scenes.features.audio_embedding import embed, mono
from scenes.features.foundation import Foundation, embed_frames, embed_sounds
from scenes.learning.backend import keras
from scenes.learning.front import behind
from scenes.learning.precision import policy
from scenes.media.clip import read_audio, read_frames
from scenes.rehearsal.untrained import size_of, stand_in
from scenes.stage.options import PrecisionName

PARAMS = yaml.safe_load((Path(__file__).parents[1] / "params.paper.yaml").read_text(encoding="utf-8"))
MINUTE, RATE = 6, 48_000  # clips; of the data set

Way = tuple[str, int, Callable[[np.ndarray, np.ndarray], np.ndarray]]  # name, bytes of weights, embeddings of both


def foundations(precision: PrecisionName, folder: Path) -> Iterator[Way]:
    """The foundation models of params.paper.yaml, sound also once a clip."""
    for section in ("visual_foundation", "audio_foundation"):
        for name, entry in PARAMS[section].items():
            stand_in(entry["model"], folder / name)
            model = Foundation(folder / name, "pooled", precision)
            size = size_of(entry["model"])
            if model.media == ["video"]:
                yield name, size, lambda sounds, frames, model=model: embed_frames(frames, model)
                continue
            for unit in ("second", "clip"):

                def heard(sounds: np.ndarray, frames: np.ndarray, model=model, unit=unit) -> np.ndarray:
                    return embed_sounds(sounds.mean(axis=1), model, unit, None)

                yield f"{name}, a {unit} at a time", size, heard


def pretrained_audio(precision: PrecisionName) -> Iterator[Way]:
    """The five PANNs."""
    for name in panns.NETWORKS:
        network = panns_checkpoints.untrained(name, 0)
        size = 4 * sum(weights.numel() for weights in network.parameters())
        embedder = panns_embedder.Embedder(network, "pool", precision)
        yield name, size, lambda sounds, frames, net=embedder: embed(np.stack([*map(mono, sounds)]), net, "second")


def applications(precision: PrecisionName, stored: int) -> Iterator[Way]:
    """The seven Keras applications."""
    for name, entry in PARAMS["visual"].items():
        keras.config.set_dtype_policy(policy(precision))
        extractor = image_networks.extractor(name, entry["size"], False, "none")
        network = behind(image_networks.front(name, entry["size"], stored), extractor)
        size = 4 * extractor.count_params()
        yield name, size, lambda sounds, frames, net=network: visual_embedding.embed(frames, net)


def seconds_of(way: Callable, sounds: np.ndarray, frames: np.ndarray) -> float:
    """Processor seconds per second of recording, after one clip that is not timed."""
    way(sounds[:1], frames[:1])
    start = time.process_time()
    for clip in range(len(sounds)):
        way(sounds[clip : clip + 1], frames[clip : clip + 1])
    return (time.process_time() - start) / (10 * len(sounds))


def main(
    video: Annotated[Path, typer.Argument(help="folder of .mp4 files")],
    audio: Annotated[Path | None, typer.Argument(help="folder of .wav files, unless the .mp4 files have sound")] = None,
    threads: Annotated[int, typer.Option(help="of each network")] = 2,
) -> None:
    """Print a table of all networks."""
    import torch

    torch.set_num_threads(threads)
    films, waves = sorted(video.glob("*.mp4")), sorted((audio or video).glob("*.wav" if audio else "*.mp4"))
    frames = np.stack([read_frames(films[clip % len(films)], PARAMS["frames"]["size"]) for clip in range(MINUTE)])
    sounds = np.stack([read_audio(waves[clip % len(waves)], RATE) for clip in range(MINUTE)])
    print(f"Seconds of processor per second of recording, {threads} threads ({machine('torch', 'transformers')}):\n")
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "bfloat16"):
            ways = foundations(precision, Path(folder)), pretrained_audio(precision), applications(precision, 331)
            for name, size, way in (way for kind in ways for way in kind):
                row = found.setdefault(name, [name, f"{size / 4e6:,.0f}", f"{size / 1e6:,.0f}"])
                row.append(f"{seconds_of(way, sounds, frames):.3f}")
    show(["", "million parameters", "MB", "float32", "bfloat16"], list(found.values()))


if __name__ == "__main__":
    typer.run(main)
