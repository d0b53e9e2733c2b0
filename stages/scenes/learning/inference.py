"""Running a trained network."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from scenes.learning.backend import keras
from scenes.learning.batches import Batches
from scenes.learning.mixup import Samples
from scenes.stage.errors import InputError

BATCH = 40


def load_weights(network: keras.Model, path: Path) -> None:
    """Load trained weights.

    Raises
    ------
    InputError
        If they are another network's, or truncated.
    """
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path)) from error
        raise InputError(f"{path}: truncated, or of other parameters; train it again with these") from error


def forward(network: keras.Model, inputs: Samples, batch: int = BATCH) -> np.ndarray:
    """Outputs of the network at inference, float32 `[n, ...]`, computed in batches of `batch`.

    Inputs are an array `[n, ...]`, or a tuple of them for a network of several.

    The last batch is filled up, except under torch: another size would be traced again. Traced, not op by op:
    NASNetLarge at 331 pixels would keep every layer's output, 1.3 GB a picture.
    """
    network.jit_compile = keras.backend.backend() == "jax"
    count = len(keras.tree.flatten(inputs)[0])
    whole = count if keras.backend.backend() == "torch" else -(-count // batch) * batch
    every = keras.tree.map_structure
    filled = every(lambda array: np.resize(array, (whole, *array.shape[1:])), inputs)
    outputs = [
        network.predict_on_batch(every(lambda array, start=start: array[start : start + batch], filled))
        for start in range(0, count, batch)
    ]
    return np.concatenate(outputs)[:count].astype(np.float32)


def predict(network: keras.Model, batches: Batches, name: str) -> np.ndarray:
    """Outputs of every sample, float32 `[samples, ...]`, with a progress bar called `name`."""
    numbers = tqdm(range(len(batches)), desc=name, unit="batch", leave=False)
    return np.concatenate([forward(network, batches[number][0]) for number in numbers])
