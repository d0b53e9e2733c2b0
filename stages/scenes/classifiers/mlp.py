"""The multilayer perceptron of the embedding frameworks (the paper, Table II)."""

from dataclasses import dataclass

from scenes.learning.backend import keras
from scenes.stage import options

layers = keras.layers


@dataclass(frozen=True)
class Options:
    """The numbers of the MLP, by default the paper's."""

    widths: options.Widths = (8192, 8192, 1024)
    dropout: options.DropoutRate = 0.4


def mlp(inputs: int, classes: int, widths: list[int], dropout: float) -> keras.Model:
    """Build the classifier of embeddings: dense layers with ReLU and dropout, then softmax.

    Parameters
    ----------
    inputs : int
        Dimensions of an embedding.
    classes : int
        Number of classes.
    widths : list of int
        Units of the hidden layers, 8192, 8192 and 1024 in the paper.
    dropout : float
        Dropout rate after each hidden layer.

    Returns
    -------
    Model
        From embeddings `[batch, inputs]` to probabilities `[batch, classes]`.
    """
    embedding = keras.Input((inputs,))
    return keras.Model(embedding, head(embedding, classes, widths, dropout), name="mlp")


def head(x, classes: int, widths: list[int], dropout: float):
    """The layers of `mlp` on a tensor `[batch, inputs]`, to probabilities `[batch, classes]`."""
    for width in widths:
        x = layers.Dense(width, activation="relu")(x)
        x = layers.Dropout(dropout)(x)
    return layers.Dense(classes, activation="softmax", dtype=keras.config.floatx())(x)
