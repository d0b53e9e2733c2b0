"""What a user reads when memory does not suffice for a training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scenes.learning.backend import keras
from scenes.learning.mixup import MixedBatches, divisors
from scenes.stage.errors import InputError

# Of torch, TensorFlow, JAX, CUDA's libraries and NumPy, which have no class of errors in common.
MESSAGES = (
    "out of memory", "OOM when allocating", "RESOURCE_EXHAUSTED", "MemoryError", "ALLOC_FAILED",
    "not enough memory", "failed to allocate", "annot allocate memory", "can't allocate memory", "Unable to allocate",
    "Dst tensor is not initialized",
)  # fmt: skip


@contextmanager
def said_if_exhausted(model: Path, network: keras.Model, batches: MixedBatches) -> Iterator[None]:
    """End a training that runs out of memory, of the GPU or of the system, by an `InputError`."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, MemoryError) and not any(message in str(error) for message in MESSAGES):
            raise
        smaller = [batches.mixtures * pairs for pairs in divisors(batches.size // 2) if pairs < batches.pairs_at_once]
        advice = f"lower it to {' or '.join(map(str, smaller[-2:]))}" if smaller else "nothing smaller is possible"
        size = " and ".join("x".join(map(str, each.shape[1:])) for each in network.inputs)
        raise InputError(
            f"{model}: out of memory: {network.name} at {size} with a micro_batch of "
            f"{batches.mixtures * batches.pairs_at_once}; {advice}"
        ) from error
