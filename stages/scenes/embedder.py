"""Making an embedding network ready for inference: batch norm's averages, and bfloat16 where it pays."""

from collections.abc import Callable

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.batch_norm import reestimate
from scenes.learning.inference import BATCH, forward
from scenes.learning.precision import agree, policy


def ready(
    exact: keras.Model, build: Callable[[], keras.Model], some: np.ndarray, pretrained: bool, precision: str
) -> keras.Model:
    """Make a network ready for inference.

    Parameters
    ----------
    exact : Model
        The network with its weights, in float32.
    build : callable
        Makes another network of its kind.
    some : ndarray
        Inputs `[n, ...]`: for batch norm's averages if the network is untrained, and for judging bfloat16.
    pretrained : bool
        Whether batch norm's averages are trained.
    precision : str
        `float32`, `bfloat16`, or `auto`: bfloat16 where it is faster and every embedding of `some` keeps a cosine
        similarity to that of float32 above 0.999.

    Returns
    -------
    Model
        `exact`, or a network with its weights that computes in bfloat16.
    """
    if not pretrained:
        reestimate(exact, [(some[start : start + BATCH],) for start in range(0, len(some), BATCH)])
    if policy(precision) == "float32":
        return exact
    keras.config.set_dtype_policy(policy(precision))
    fast = build()
    fast.set_weights(exact.get_weights())
    return fast if precision == "bfloat16" or agree(forward(fast, some), forward(exact, some)) else exact
