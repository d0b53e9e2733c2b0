"""Running a trained network."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from scenes.learning.backend import keras
from scenes.learning.batches import Batches
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


def forward(network: keras.Model, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """Outputs of the network at inference, float32 `[n, ...]`, computed in batches of `batch`.

    The last batch is filled up: another size would be traced again. Traced, not op by op: NASNetLarge at 331 pixels
    would keep every layer's output, 1.3 GB a picture.
    """
    network.jit_compile = keras.backend.backend() == "jax"
    filled = np.resize(inputs, (-(-len(inputs) // batch) * batch, *inputs.shape[1:]))
    outputs = [network.predict_on_batch(filled[start : start + batch]) for start in range(0, len(filled), batch)]
    return np.concatenate(outputs)[: len(inputs)].astype(np.float32)


def predict(network: keras.Model, batches: Batches, name: str) -> np.ndarray:
    """Outputs of every sample, float32 `[samples, ...]`, with a progress bar called `name`."""
    numbers = tqdm(range(len(batches)), desc=name, unit="batch", leave=False)
    return np.concatenate([forward(network, batches[number][0]) for number in numbers])
