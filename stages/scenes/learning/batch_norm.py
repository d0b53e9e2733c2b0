"""Batch normalisation after short trainings, or none."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from tqdm import tqdm

from scenes.learning.backend import keras


def keep_time_constant(network: keras.Model, micro_batches: int) -> None:
    """Let moving averages forget as much in a step of so many micro-batches as they would in one of a whole batch.

    They are updated for each micro-batch, so their momentum becomes its `micro_batches`-th root.
    """
    for layer in _norms(network):
        layer.momentum **= 1 / micro_batches


def reestimate(network: keras.Model, batches: Sequence) -> None:
    """Replace batch normalisation's moving averages by plain averages over the batches, at the present weights.

    Moving averages (momentum 0.99 in most Keras applications, 0.9997 in NASNetLarge) are still near their start after
    a few dozen steps, and the network then stands at chance at inference; those of an untrained network make its
    outputs vanish. Dropout is off, as at inference.

    Parameters
    ----------
    network : Model
        Whose moving averages to replace.
    batches : sequence
        Tuples that begin with inputs of the network `[batch, ...]`, an array or a tuple of them.
    """
    norms = _norms(network)
    dropouts = [layer for layer in _all_layers(network) if isinstance(layer, keras.layers.Dropout)]
    kept = [norm.momentum for norm in norms], [dropout.rate for dropout in dropouts]
    for dropout in dropouts:
        dropout.rate = 0.0
    for count in tqdm(range(len(batches) if norms else 0), desc="batch norm", unit="batch"):
        for norm in norms:
            norm.momentum = count / (count + 1)
        with without_gradients():
            network(batches[count][0], training=True)
    for norm, momentum in zip(norms, kept[0], strict=True):
        norm.momentum = momentum
    for dropout, rate in zip(dropouts, kept[1], strict=True):
        dropout.rate = rate


def without_gradients() -> AbstractContextManager:
    """Torch, which runs op by op, would keep all for a backward pass."""
    return sys.modules["torch"].no_grad() if keras.backend.backend() == "torch" else nullcontext()


def _norms(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in _all_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]


def _all_layers(network: keras.Model) -> list[keras.layers.Layer]:
    """Also those of networks within it."""
    parts = [_all_layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers]
    return [layer for part in parts for layer in part]
