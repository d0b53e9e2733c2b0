"""Measure the peak memory of a step of each network at the paper's size, in the micro-batches of params.paper.yaml.

On the processor, where a process' own memory is all there is. The last two micro-batches of a step are taken, the
second of which changes the weights: so all is there that a step of any number has. What a training has without samples,
and what each sample adds, follows from a second run with the smallest micro-batch.

Of KERAS_BACKEND. Needs `stages` on the path: PYTHONPATH=stages python benchmarks/step_memory.py
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer
import yaml
from measure import machine, show

ROOT = Path(__file__).parents[1]
CLASSES, CLIPS = 10, 40


def features(family: str) -> list[np.ndarray]:
    """Made-up features of a few clips, as large as the paper's."""
    generator = np.random.default_rng(0)
    sound = generator.normal(size=(CLIPS, 2, 128, 704)).astype(np.float16)
    frames = generator.integers(0, 256, (CLIPS, 10, 331, 331, 3), np.uint8)
    embeddings = generator.normal(size=(CLIPS, 10, 4096)).astype(np.float32)
    return {"visual_image": [frames], "audio_spectrogram": [sound], "audio_visual": [sound, frames],
            "visual_embedding": [embeddings]}[family]  # fmt: skip


def training(
    family: str, member: str, batch: int, micro_batch: int, precision: str, clips: int = CLIPS
) -> tuple[Any, Any, Any]:
    """The `Trainer`, the network and the `MixedBatches` of a training at the paper's size, so many clips an epoch."""
    from scenes.learning.mixup import MixedBatches, mixtures_of
    from scenes.learning.optimizer import adam
    from scenes.learning.trainer import Trainer
    from scenes.learning.training import Recipe, prepare
    from scenes.systems import FAMILIES

    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text())
    prepare(Recipe(precision=precision))
    made, arrays = FAMILIES[family].implementation, features(family)
    options = FAMILIES[family].options(params, member)
    network, front = made.network(options, arrays, CLASSES), made.front(options, arrays)
    targets = np.eye(CLASSES, dtype=np.float32)[np.arange(CLIPS) % CLASSES]
    parts = params["train"][family]["mixup"]
    batches = MixedBatches(
        made.load(options, arrays), np.arange(clips) % CLIPS, targets, batch, 10, 0, parts=parts, alpha=0.4,
        micro_batch=micro_batch,
    )  # fmt: skip
    return Trainer(front, network, mixtures_of(parts), adam(1e-4, batches.micro_batches), 1e-4), network, batches


def step(family: str, member: str, batch: int, micro_batch: int, precision: str) -> dict[str, float]:
    """Peak resident memory of this process, GiB, and seconds a sample, of the last two micro-batches of a step."""
    from scenes.learning.backend import keras

    trainer, _, batches = training(family, member, batch, micro_batch, precision)
    trainer.optimizer._iterations.assign(max(batches.micro_batches - 2, 0))
    seconds = []
    for number in range(min(2, batches.micro_batches)):
        start = time.perf_counter()
        trainer.train_on_batch(*batches[number])
        seconds.append(time.perf_counter() - start)
    keras.utils.clear_session(free_memory=False)
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "seconds": min(seconds) / micro_batch}


def trainings() -> dict[str, tuple[str, str, int]]:
    """Of each network's name, the family, the member and the micro-batch of its training in params.paper.yaml."""
    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text())
    return {
        **{name: ("visual_image", name, params["visual"][name]["micro_batch"]) for name in params["visual"]},
        "VGG14": ("audio_spectrogram", "mel", params["train"]["audio_spectrogram"]["micro_batch"]),
        "MLP": ("visual_embedding", "VGG19", params["train"]["visual_embedding"]["micro_batch"]),
        "joint": ("audio_visual", "MobileNetV2", params["audio_visual"]["MobileNetV2"]["micro_batch"]),
    }


def measured(family: str, member: str, batch: int, micro_batch: int, precision: str) -> dict[str, float]:
    """`step` in a process of its own."""
    words = [sys.executable, __file__, "--child", json.dumps([family, member, batch, micro_batch, precision])]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise typer.Exit(ended.stderr[-3000:])
    return json.loads(ended.stdout.splitlines()[-1])


def rows_of(only: list[str], precision: str) -> list[list[Any]]:
    rows = []
    for name, (family, member, micro_batch) in trainings().items():
        if only and name not in only:
            continue
        steps = ((100, 6), (100, micro_batch), (200, micro_batch))
        least, paper, twice = (measured(family, member, *sizes, precision) for sizes in steps)
        each = (paper["peak"] - least["peak"]) / max(micro_batch - 6, 1)
        rows.append([
            name, str(micro_batch), f"{paper['peak']:.1f}", f"{twice['peak']:.1f}", f"{least['peak'] - 6 * each:.1f}",
            f"{1024 * each:.0f}", f"{paper['seconds']:.2f}",
        ])  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main(only: list[str] | None = None, precision: str = "float32", child: str = "") -> None:
    """Print a table of all networks, or of those whose names are given."""
    if child:
        print(json.dumps(step(*json.loads(child))))
        return
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    print(f"Batches of 100, of which mixup makes 300, in {precision} ({machine('keras', backend)}):\n")
    show(["network", "micro_batch", "peak, GiB", "of a batch of 200", "without samples, GiB", "MiB a sample",
          "seconds a sample"], rows_of(only or [], precision))  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
