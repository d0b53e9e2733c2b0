"""Numbers in float32, or in bfloat16 where that is faster."""

import time
from pathlib import Path

import numpy as np

from scenes.learning.backend import keras
from scenes.stage.options import PrecisionName


def policy(precision: PrecisionName) -> str:
    """The Keras dtype policy of a precision: `float32`, or `mixed_bfloat16` (weights stay in float32).

    `auto` takes bfloat16 on processors that multiply in it (AVX512-BF16, AMX; others convert, a hundred times slower)
    and on GPUs where a matrix product is much faster in it.
    """
    if precision == "auto":
        precision = "bfloat16" if _bfloat16_pays() else "float32"
    return "mixed_bfloat16" if precision == "bfloat16" else "float32"


def agree(fast: np.ndarray, exact: np.ndarray) -> bool:
    """Whether every row of `fast` has a cosine similarity to that of `exact`, `[n, D]` both, above 0.999."""
    norms = np.linalg.norm(fast, axis=1) * np.linalg.norm(exact, axis=1)
    return bool((np.sum(fast * exact, axis=1) > 0.999 * norms).all())


def on_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    device = str(keras.ops.ones(()).device).lower()
    return "gpu" in device or "cuda" in device


def _bfloat16_pays() -> bool:
    if on_gpu():
        return _product_seconds("bfloat16") < 0.7 * _product_seconds("float32")
    processor = Path("/proc/cpuinfo")
    return processor.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(
        processor.read_text(encoding="utf-8").split()
    )


def _product_seconds(dtype: str) -> float:
    matrix = keras.ops.ones((4096, 4096), dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(matrix, matrix)[0, 0])
        times.append(time.perf_counter() - start)
    return min(times)
