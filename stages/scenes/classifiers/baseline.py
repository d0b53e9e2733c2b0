"""The four systems of the DCASE 2021 Task 1B baseline (Wang et al. 2021), which classify OpenL3's embeddings.

`audio` and `visual` see one modality, `early` their embeddings side by side. `official` joins the hidden features of
the first two, whose weights it keeps: the baseline's figures on the challenge's page are its own.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scenes.dataset.tables import Rows, open_rows
from scenes.learning.backend import keras
from scenes.stage.errors import InputError

layers = keras.layers

MODALITIES = {"audio": ["audio"], "visual": ["visual"], "early": ["audio", "visual"], "official": ["audio", "visual"]}
COLUMNS = {"audio": "audio", "visual": "video"}  # of split.csv
WIDTHS = [512, 128, 64]
DROPOUT = 0.2
HIDDEN = "linear_2"


def columns(system: str) -> list[str]:
    """The columns of split.csv that a clip must have for a system."""
    return [COLUMNS[modality] for modality in MODALITIES[system]]


def open_embeddings(system: str, path: str, split) -> list[Rows]:
    """Memory-map what a system is trained on, `[clips, T, D]` each, from a path with `{modality}`.

    Raises
    ------
    InputError
        If a file is not such an array, or not of the other's shape.
    """
    paths = [Path(path.format(modality=modality)) for modality in MODALITIES[system]]
    arrays = [open_rows(path, split) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if len(array.shape) != 3 or array.shape != arrays[0].shape:
            raise InputError(f"{path}: shape {array.shape}, expected [clips, T, D], equal for both; embed again")
    return arrays


def loader(embeddings: list[np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """From clips and frames, int `[n]` each, to embeddings side by side, `[n, D]` or `[n, 2 D]`."""
    return lambda clip, frame: np.concatenate([array[clip, frame] for array in embeddings], axis=-1)


def moments(embeddings: list[np.ndarray], clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each dimension over all frames of some clips, `[D]` or `[2 D]` each."""
    of_clips = np.zeros((2, sum(array.shape[-1] for array in embeddings)))
    for clip in clips:
        frames = np.concatenate([array[clip] for array in embeddings], axis=-1).astype(np.float64)
        of_clips += [frames.mean(axis=0), np.square(frames).mean(axis=0)]
    mean, square = of_clips / len(clips)
    return mean, square - mean**2


def classifier(inputs: int, classes: int, name: str) -> keras.Model:
    """Build the net of the systems `audio`, `visual` and `early`: z-score, three dense layers, softmax.

    Its parameters are 338,634 for 512 inputs and 600,778 for 1,024. The z-score's are not among them: see
    `set_moments`.

    Parameters
    ----------
    inputs, classes : int
        Dimensions of an embedding, and number of classes.
    name : str
        Of the net.

    Returns
    -------
    Model
        From embeddings `[batch, inputs]` to probabilities `[batch, classes]`.
    """
    embedding = keras.Input((inputs,))
    # Frozen batch normalisation without scale and centre is a z-score, saved with the weights.
    x = layers.BatchNormalization(center=False, scale=False, epsilon=1e-12, trainable=False, name="z_score")(embedding)
    for number, width in enumerate(WIDTHS, 1):
        x = layers.Dense(width, name=f"linear_{number}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)  # torch's, in which the baseline was written
        x = layers.Dropout(DROPOUT)(layers.ReLU()(x))
    x = layers.Dense(classes, activation="softmax", dtype=keras.config.floatx())(x)
    return keras.Model(embedding, x, name=name)


def set_moments(net: keras.Model, mean: np.ndarray, variance: np.ndarray) -> None:
    """Give a net's z-score its mean and variance; a dimension that never varies is left as it is."""
    net.get_layer("z_score").set_weights([mean, np.where(variance > 0, variance, 1)])


def official(audio: keras.Model, visual: keras.Model, classes: int) -> keras.Model:
    """Join two nets of `classifier` up to their second dense layer, frozen, by two dense layers without activation.

    Its parameters to train are 34,186 for ten classes.

    Parameters
    ----------
    audio, visual : Model
        The nets, trained.
    classes : int
        Number of classes.

    Returns
    -------
    Model
        From embeddings side by side, `[batch, 2 D]`, to probabilities `[batch, classes]`.
    """
    dimension = audio.input_shape[-1]
    embeddings = keras.Input((2 * dimension,))
    features = []
    for net, part in ((audio, embeddings[:, :dimension]), (visual, embeddings[:, dimension:])):
        tower = keras.Model(net.input, net.get_layer(HIDDEN).output, name=f"{net.name}_features")
        tower.trainable = False
        for layer in tower.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0  # training, the whole model trains: only so a frozen part is as at inference
        features.append(tower(part))
    x = layers.Dense(128)(layers.Concatenate()(features))
    x = layers.Dense(classes, activation="softmax", dtype=keras.config.floatx())(x)
    return keras.Model(embeddings, x, name="official")


def build(system: str, dimension: int, classes: int) -> keras.Model:
    """Build a system on embeddings of a dimension, without its weights, to load them into."""
    if system == "official":
        return official(*(classifier(dimension, classes, modality) for modality in MODALITIES[system]), classes)
    return classifier(len(MODALITIES[system]) * dimension, classes, system)
