"""Running a trained network."""

import numpy as np
from tqdm import tqdm

from scenes.backend import keras
from scenes.batches import Batches

BATCH = 100


def predict(network: keras.Model, batches: Batches, name: str) -> np.ndarray:
    """Probabilities of every sample, float32 `[samples, classes]`, with a progress bar called `name`.

    Op by op: tracing a large network for prediction takes longer than these predictions do.
    """
    numbers = tqdm(range(len(batches)), desc=name, unit="batch", leave=False)
    outputs = [network(batches[number][0], training=False) for number in numbers]
    return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs]).astype(np.float32)
