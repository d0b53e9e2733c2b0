"""Time training VGG14 at the paper's size against plain Keras, in patches a second.

Plain is `model.fit` in float32 from a `PyDataset` with two workers over ready patches; ours cuts the patches, makes
deltas and mixup on the device, adds L2 and takes `--precision`. Ours is also timed with one batch repeated, which costs
nothing to read. Of KERAS_BACKEND, on whatever device that backend takes. On a GPU: --batch 100 --steps 20.

Needs `stages` on the path: PYTHONPATH=stages python benchmarks/training.py
"""

import time
from functools import partial

import numpy as np
import typer
from measure import machine, median_seconds, show

from scenes.classifiers import patch_layer
from scenes.classifiers.patches import excerpts
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.learning.backend import keras
from scenes.learning.mixup import MixedBatches, mix
from scenes.learning.optimizer import adam
from scenes.learning.precision import policy
from scenes.learning.trainer import Trainer
from scenes.stage.options import PrecisionName

CLASSES, PARTS, CLIPS = 10, ["beta", "original", "uniform"], 40


class Ready(keras.utils.PyDataset):
    """Batches that lie ready, so many times over."""

    def __init__(self, batches: list[tuple], times: int = 1, workers: int = 1) -> None:
        super().__init__(workers=workers)
        self.batches = batches * times

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        return self.batches[index]


def network(precision: str) -> keras.Model:
    keras.config.set_dtype_policy(precision)
    return vgg14(CLASSES, Options())


def operations(net: keras.Model) -> float:
    """Floating-point operations of one training step a sample: a multiply-add is two, the backward pass twice more."""
    products = [
        np.prod(kernel.shape) * np.prod(layer.output.shape[1:-1])
        for layer in net._flatten_layers(include_self=False)
        for kernel in (getattr(layer, f"{kind}kernel", None) for kind in ("", "depthwise_", "pointwise_"))
        if kernel is not None
    ]
    return 6 * float(sum(products))


def product_rate(dtype: str, size: int = 4096) -> float:
    """Floating-point operations a second of the machine's own matrix product."""
    matrix = keras.ops.ones((size, size), dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(matrix, matrix)[0, 0])
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def main(batch: int = 4, steps: int = 2, repeats: int = 5, precision: PrecisionName = "float32") -> None:
    """Print patches a second of both ways, for batches of `batch` before mixup."""
    name = policy(precision)
    versions = dict.fromkeys(["keras", keras.backend.backend()])
    print(f"VGG14 at the paper's size, {name} on {keras.ops.ones(()).device} ({machine(*versions)}):\n")
    rng = np.random.default_rng(0)
    spectrograms = rng.standard_normal((CLIPS, 2, 128, 704)).astype(np.float16)
    targets = np.eye(CLASSES, dtype=np.float32)[rng.integers(CLASSES, size=CLIPS)]
    clips = np.resize(np.arange(CLIPS), steps * batch)
    front = patch_layer.front(spectrograms)
    mixed = MixedBatches(
        partial(excerpts, spectrograms), clips, targets, batch, 1, 0, parts=PARTS, alpha=0.4
    )  # fmt: skip
    size, ready = 2 * len(PARTS) * (batch // 2), []
    for number in range(steps):
        ((frames, seconds), weights), labels = mixed[number]
        patches = front((frames.reshape(-1, *frames.shape[2:]), seconds.reshape(-1)))
        patches = keras.ops.convert_to_numpy(patches).reshape(-1, 2, *patches.shape[1:])
        ready.append(tuple(array.reshape(size, *array.shape[2:]) for array in (mix(patches, weights), labels)))

    plain = network("float32")
    plain.compile(optimizer=keras.optimizers.Adam(1e-4), loss=keras.losses.KLDivergence(), metrics=["accuracy"])
    ours = network(name)
    trainer = Trainer(front, ours, 2 * len(PARTS), adam(1e-4), 1e-4)
    ways = {
        "plain": lambda: plain.fit(Ready(ready, workers=2), verbose=0),
        "ours": lambda: trainer.fit(mixed, verbose=0, shuffle=False),
        "ours, one batch repeated": lambda: trainer.fit(Ready([mixed[0]], steps), verbose=0),
    }
    seconds = median_seconds(ways, repeats)
    rates = {dtype: product_rate(dtype) for dtype in {"float32", ours.compute_dtype}}
    rows = []
    for way, time_taken in seconds.items():
        speed = steps * size / time_taken
        share = speed * operations(ours) / rates["float32" if way == "plain" else ours.compute_dtype]
        ratio = seconds["plain"] / time_taken
        rows.append([way, f"{speed:.2f}", f"{speed * operations(ours) / 1e9:.0f}", f"{share:.0%}", f"{ratio:.2f}"])
    show(["", "patches a second", "GFLOP/s", "of the matrix product's", "ratio to plain"], rows)
    extra = seconds["ours"] / seconds["ours, one batch repeated"] - 1
    print(f"Real input takes {extra:+.1%} of the time of a repeated batch; batches of {size} after mixup.\n")


if __name__ == "__main__":
    typer.run(main)
