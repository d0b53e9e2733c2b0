"""Running a trained network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scenes.learning.backend import keras
from scenes.learning.batches import Batches, Samples
from scenes.stage.cli import stop_if_asked
from scenes.stage.errors import InputError

BATCH = 40
# Numbers in a batch of small samples: a sixth of those in 40 pictures of 331 pixels.
VALUES = 2**21


def load_weights(network: keras.Model, path: Path) -> None:
    """Load trained weights.

    Raises
    ------
    InputError
        If they are another network's, truncated, or not finite.
    """
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path)) from error
        raise InputError(f"{path}: truncated, or of other parameters; train it again with these") from error
    if not finite(network):
        raise InputError(f"{path}: holds weights that are not finite; train it again with a lower --lr")


def finite(model: keras.Model | keras.optimizers.Optimizer) -> bool:
    """Whether all variables of a model or an optimiser are finite numbers."""
    return all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in model.variables)


def refuse_not_finite(probabilities: np.ndarray, names: Sequence[str], model: Path | str) -> None:
    """Hold a network to finite numbers: NaN stands for a clip without the modality, and for nothing else.

    Parameters
    ----------
    probabilities : ndarray
        `[n, ...]`, what the network gave.
    names : sequence of str
        Of the clips or seconds, for the error.
    model : Path or str
        Of the network, likewise.

    Raises
    ------
    InputError
        If a number is not finite.
    """
    wrong = np.flatnonzero(~np.isfinite(probabilities).reshape(len(probabilities), -1).all(axis=1))
    if len(wrong):
        raise InputError(
            f"{model}: its prediction for {names[wrong[0]]} is not finite ({len(wrong)} in all); train it again with "
            "a lower --lr"
        )


def batch_size(network: keras.Model) -> int:
    """How many samples a network is given at once: 40, or more small ones under torch, where no batch is filled up.

    Keras lays out the weights for torch anew in every batch: a third of the time that 40 pictures of 48 pixels take.
    """
    last = network.layers[-1]  # the network itself, where its preprocessing is in front
    inputs = (last if isinstance(last, keras.Model) else network).inputs
    values = sum(int(np.prod(tensor.shape[1:])) for tensor in inputs)
    return max(BATCH, VALUES // values) if keras.backend.backend() == "torch" else BATCH


def forward(network: keras.Model, inputs: Samples, batch: int | None = None) -> np.ndarray:
    """Outputs of the network at inference, float32 `[n, ...]`, in batches of `batch`, by default of `batch_size`.

    Inputs are an array `[n, ...]`, or a tuple of them for a network of several.

    The last batch is filled up, except under torch: another size would be traced again. Traced, not op by op:
    NASNetLarge at 331 pixels would keep every layer's output, 1.3 GB a picture.
    """
    network.jit_compile = keras.backend.backend() == "jax"
    batch = batch or batch_size(network)
    count = len(keras.tree.flatten(inputs)[0])
    whole = count if keras.backend.backend() == "torch" else -(-count // batch) * batch
    every = keras.tree.map_structure
    filled = every(lambda array: np.resize(array, (whole, *array.shape[1:])), inputs)
    outputs = [
        # Where several GPUs train the network, each computes the whole batch, and Keras lays their rows end to end.
        network.predict_on_batch(every(lambda array, start=start: array[start : start + batch], filled))[:batch]
        for start in range(0, count, batch)
    ]
    return np.concatenate(outputs)[:count].astype(np.float32)


def predict(network: keras.Model, batches: Batches, name: str) -> np.ndarray:
    """Outputs of every sample, float32 `[samples, ...]`, with a progress bar called `name`."""
    outputs = []
    with tqdm(desc=name, unit="sample", total=batches.pairs.shape[1], leave=False) as bar:
        for number in range(len(batches)):
            outputs.append(forward(network, batches[number][0]))
            bar.update(len(outputs[-1]))
            stop_if_asked()
    return np.concatenate(outputs)
