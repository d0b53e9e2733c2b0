"""What the numbers of a network depend on beside its inputs: threads and float32, set by the command alone."""

import os
import sys

import numpy  # noqa: F401  its BLAS is to be there when it is limited
from threadpoolctl import threadpool_limits


def threads() -> int | None:
    """How many threads `OMP_NUM_THREADS` gives to a network; None, as many as its library likes, if it is not set."""
    number = os.environ.get("OMP_NUM_THREADS")
    if number is None:
        return None
    if not number.isdecimal() or int(number) == 0:
        sys.exit(f"error: threads: OMP_NUM_THREADS is {number!r}, must be a whole number from 1 on, such as 1")
    return int(number)


def settle(library: str) -> None:
    """Set up `torch`, `tensorflow` or `jax` so that neither the machine nor its environment decides a number.

    Sums are shared out among threads, whose number therefore changes their last digits. Left alone, torch takes no more
    threads than there are cores, TensorFlow and JAX one a core. Float32 is float32 also on GPUs, which could multiply
    in TensorFloat-32, with the 10 bits of a half. TensorFlow takes the memory of a GPU as it needs it, so that two
    stages may share one. To be called before the library computes.
    """
    number = threads()
    threadpool_limits(1, user_api="blas")  # NumPy's, which makes the batches
    if library == "torch":
        import torch

        if number:
            torch.set_num_threads(number)
        torch.backends.fp32_precision = "ieee"
    elif library == "tensorflow":
        import tensorflow

        if number:
            tensorflow.config.threading.set_intra_op_parallelism_threads(number)
            tensorflow.config.threading.set_inter_op_parallelism_threads(number)
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        for gpu in tensorflow.config.list_physical_devices("GPU"):  # or it takes all memory at once
            tensorflow.config.experimental.set_memory_growth(gpu, True)
    else:
        import jax

        if number:
            os.environ["NPROC"] = str(number)
        jax.config.update("jax_default_matmul_precision", "highest")
