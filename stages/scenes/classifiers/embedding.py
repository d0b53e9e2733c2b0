"""Embedding classifiers: the MLP (the paper, Table II) on one embedding a second, of audio or of frames."""

from dataclasses import asdict

from scenes.classifiers.mlp import Options, mlp
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load
from scenes.learning.front import as_stored


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to embeddings `[n, D]`; `arrays` is one of embeddings."""
    (embeddings,) = arrays
    return lambda clips, seconds: embeddings[clips, seconds]


def front(options: Options, arrays: list[Rows]) -> keras.Model:
    """They are used as they are."""
    return as_stored(arrays[0].shape[-1])


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """The MLP for embeddings of this dimension."""
    return mlp(arrays[0].shape[-1], classes, **asdict(options))
