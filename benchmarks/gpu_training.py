"""Time the training of each network at the paper's size on a GPU: samples a second, share of its peak, memory, waiting.

In the micro-batches and the precision of params.paper.yaml: 20 steps of Adam after one that is not timed, or as many as
begin within half a minute. The loop is that of a training: Keras', with four threads that make batches ahead. The peak
is the rate of the GPU's own matrix product in the same precision. What is waited is an upper bound: the GPU may still
be busy with what it was given before.

Of KERAS_BACKEND. Needs `stages` on the path: PYTHONPATH=stages python benchmarks/gpu_training.py
"""

import json
import os
import subprocess
import sys
import time
from typing import Annotated

import typer
import yaml
from measure import machine, show
from step_memory import ROOT, training, trainings

BATCH, STEPS, SECONDS = 100, 20, 30.0
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes most of the memory at once


def timed(family: str, member: str, micro_batch: int, precision: str) -> dict[str, float]:
    """What the training of a network takes: samples a second, share of the peak, bytes, share of waiting, and steps."""
    from training import operations, product_rate

    from scenes.learning.backend import keras
    from scenes.learning.training import THREADS

    trainer, network, batches = training(family, member, BATCH, micro_batch, precision, (1 + STEPS) * BATCH // 10)
    batches.workers = batches.max_queue_size = THREADS
    pieces, waited, ended = batches.micro_batches, [], []

    def begin(number: int, logs: dict | None = None) -> None:
        if len(ended) >= pieces:
            waited.append(time.perf_counter() - ended[-1])

    def end(number: int, logs: dict | None = None) -> None:
        if len(ended) + 1 == pieces:
            float(logs["loss"])  # waits for the GPU
        ended.append(time.perf_counter())
        whole = len(ended) % pieces == 0
        trainer.stop_training = whole and len(ended) > pieces and ended[-1] - ended[pieces - 1] > SECONDS

    watch = keras.callbacks.LambdaCallback(on_train_batch_begin=begin, on_train_batch_end=end)
    trainer.fit(batches, shuffle=False, verbose=0, callbacks=[watch])
    keras.ops.convert_to_numpy(network.trainable_variables[-1])  # likewise
    seconds, samples = time.perf_counter() - ended[pieces - 1], (len(ended) - pieces) * micro_batch
    peak = product_rate("bfloat16" if precision == "bfloat16" else "float32", 8192)
    return {
        "speed": samples / seconds, "share": samples / seconds * operations(network) / peak,
        "memory": memory(keras.backend.backend()), "waiting": sum(waited) / seconds, "steps": len(ended) / pieces - 1,
    }  # fmt: skip


def memory(backend: str) -> int:
    """Bytes of GPU memory that this process took at the most, the library's reserve included where it tells."""
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_reserved()
    if backend == "jax":
        import jax

        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    import tensorflow

    return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]


def device(backend: str) -> str:
    """The GPU's name."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return f"{subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()}, {backend}"


def main(
    only: Annotated[list[str] | None, typer.Argument(help="networks instead of all")] = None,
    micro_batch: Annotated[int | None, typer.Option(help="samples at once, instead of those of the file")] = None,
    limit: Annotated[float, typer.Option(help="seconds that a network may take, its start included")] = 600,
    child: str = "",
) -> None:
    """Print a table of all networks, or of those whose names are given."""
    if child:
        print(json.dumps(timed(*json.loads(child))))
        return
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text())
    print(f"Batches of 100, of which mixup makes 300 ({device(backend)}; {machine('keras', backend)}):\n")
    rows = []
    for name, (family, member, of_file) in trainings().items():
        if only and name not in only:
            continue
        pieces = micro_batch or of_file
        precision = params["train"][family]["precision"]
        words = [sys.executable, __file__, "--child", json.dumps([family, member, pieces, precision])]
        try:
            ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=limit)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}\n{str(error.stderr)[-2000:]}", file=sys.stderr, flush=True)
            continue
        got = json.loads(ended.stdout.splitlines()[-1])
        rows.append([
            name, precision, str(pieces), f"{got['speed']:,.0f}", f"{got['share']:.0%}",
            f"{got['memory'] / 2**30:.1f}", f"{got['waiting']:.1%}", f"{got['steps']:.0f}",
        ])  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    show(["network", "precision", "micro_batch", "samples a second", "of the peak", "memory, GiB", "waiting for input",
          "steps"], rows)  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
