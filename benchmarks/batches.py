"""Time what a batch of the paper's size costs the host, and how much of it goes to the device.

Ours is what a training reads: frames and spectrograms as they are on disk, with mixup's random numbers; the rest is a
part of the model. Plain is what one would write in a data loader: resize, preprocess or make deltas, and mix, on the
host, in float32.

Of KERAS_BACKEND. Needs `stages` on the path: PYTHONPATH=stages python benchmarks/batches.py
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import typer
from measure import machine, show

from scenes.classifiers import image_networks, patch_layer, patches
from scenes.learning.backend import keras
from scenes.learning.batches import Load
from scenes.learning.mixup import PARTS, MixedBatches, draw, mix

CLIPS, BATCH = 60, 100
PICTURES = {"ResNet50": 224, "InceptionV3": 299, "NASNetLarge": 331}


def stored(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A memory-mapped array of random numbers, one row a clip, read once."""
    array = np.lib.format.open_memmap(name, "w+", dtype, (CLIPS, *shape))
    generator = np.random.default_rng(0)
    for row in array:
        row[:] = generator.integers(0, 256, shape) if dtype == "uint8" else generator.normal(size=shape)
    return array


def on_host(batches: MixedBatches, front: keras.Model, number: int) -> np.ndarray:
    """The samples of a batch after mixup, float32 `[pairs, mixtures, ...]`."""
    clips, seconds = batches.pairs[:, number * BATCH :][:, :BATCH]
    inputs = keras.ops.convert_to_numpy(front(batches.load(clips, seconds)))
    weights = draw(batches.parts, batches.alpha, BATCH // 2, np.random.default_rng(number)).astype(np.float32)
    return mix(inputs.reshape(-1, 2, *inputs.shape[1:]), weights)


def cost(make: Callable[[int], object], repeats: int) -> tuple[float, float]:
    """Milliseconds of processor a sample, the median of some batches after a first one; and MiB of a batch."""
    milliseconds = []
    for number in range(repeats + 1):
        start = time.process_time()
        batch = make(number)
        milliseconds.append(1e3 * (time.process_time() - start) / (3 * BATCH))
    return float(np.median(milliseconds[1:])), sum(array.nbytes for array in keras.tree.flatten(batch)) / 2**20


def main(repeats: int = 3) -> None:
    """Print a table of both ways."""
    print(f"Batches of {BATCH} samples, of which mixup makes 300 ({machine('keras', keras.backend.backend())}):\n")
    targets, rows = np.eye(10, dtype=np.float32)[np.arange(CLIPS) % 10], []
    with tempfile.TemporaryDirectory() as folder:
        frames = stored(f"{folder}/frames.npy", (10, 331, 331, 3), "uint8")
        sound = stored(f"{folder}/mel.npy", (2, 128, 704), "float16")
        made: dict[str, tuple[Load, keras.Model]] = {
            f"{name}, {size} pixels": (lambda *of: frames[of], image_networks.front(name, size, frames.shape[-2]))
            for name, size in PICTURES.items()
        }
        made["VGG14, patches"] = partial(patches.excerpts, sound), patch_layer.front(sound)
        for name, (load, front) in made.items():
            batches = MixedBatches(load, np.arange(CLIPS), targets, BATCH, 10, 0, parts=list(PARTS), alpha=0.4)
            plain = partial(on_host, batches, front)
            (ours, sent), (theirs, sent_plainly) = cost(batches.__getitem__, repeats), cost(plain, repeats)
            ratio = theirs / ours
            rows.append([name, f"{ours:.3f}", f"{theirs:.2f}", f"{ratio:.0f}", f"{sent:.0f}", f"{sent_plainly:.0f}"])
    show(["", "ms of processor a sample, ours", "plain", "ratio", "MiB to the device, ours", "plain"], rows)


if __name__ == "__main__":
    typer.run(main)
