"""Embeddings of frames by a Keras or torch network that a function of the user's own makes."""

import sys
from functools import cache, partial
from pathlib import Path

import numpy as np

from scenes.classifiers.image_networks import resized
from scenes.features.user_code import blaming, function, weights_of
from scenes.learning.backend import keras
from scenes.learning.inference import BATCH, forward
from scenes.stage.errors import InputError


class Network:
    """A network from frames float32, 0 to 255, to embeddings `[n, D]`; its preprocessing is its own.

    Parameters
    ----------
    network : str
        `module:function`, which gives a `keras.Model`, of frames `[n, size, size, 3]`, or a `torch.nn.Module`, of
        `[n, 3, size, size]`.
    weights : str
        The file that the function is given, relative to `folder`; `none`: nothing.
    size : int
        Height and width, pixels.
    folder : Path
        Where modules are looked for that are not installed.

    Raises
    ------
    InputError
        If there is no such function, it raises an exception or gives something else, or its embeddings are not
        `[n, D]`.
    """

    def __init__(self, network: str, weights: str, size: int, folder: Path) -> None:
        self.module, _, name = network.partition(":")
        self.name, self.size = network, size
        if not name:
            raise InputError(f"--network {network}: must be module:function, such as mypackage.networks:make")
        make = function(self.module, name, folder)
        given = [str(path) for path in weights_of(network, weights, folder)]
        with blaming(self.module):
            made = make(*given)
        torch = sys.modules.get("torch")  # imported, if the network is one of it
        if isinstance(made, keras.Model):  # first: under the backend torch it is a torch.nn.Module too
            self.run = partial(forward, made, batch=BATCH)
        elif torch and isinstance(made, torch.nn.Module):
            from scenes.features import torch_pictures

            self.run = partial(torch_pictures.forward, made)
        else:
            raise InputError(f"{network}: gave a {type(made).__name__}, not a keras.Model or a torch.nn.Module")
        self.dimension = self(np.zeros((1, size, size, 3), np.uint8)).shape[1]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Embeddings float32 `[n, D]` of frames uint8 `[n, S, S, 3]`, resized (antialiased bilinear)."""
        rows = []
        for start in range(0, len(frames), BATCH):
            some = keras.ops.convert_to_numpy(resized(frames[start : start + BATCH], self.size))
            with blaming(self.module):
                rows.append(self.run(some))
            if rows[-1].ndim != 2 or len(rows[-1]) != len(some):
                shape = list(rows[-1].shape)
                raise InputError(f"{self.name}: the network gave an array {shape} for {len(some)} frames, not [n, D]")
        return np.concatenate(rows)


@cache
def network(network: str, weights: str, size: int, folder: Path = Path()) -> Network:
    """A network, made once a process."""
    return Network(network, weights, size, folder)


def embed(frames: np.ndarray, network: Network) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of frames uint8 `[clips, 10, S, S, 3]`."""
    return network(frames.reshape(-1, *frames.shape[2:])).reshape(*frames.shape[:2], -1)
