"""Visual-image classifiers: a Keras application (the paper, Table IV) on single frames."""

from dataclasses import dataclass
from functools import partial

from scenes.classifiers.image_networks import classifier, pictures
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load
from scenes.stage import options


@dataclass(frozen=True)
class Options:
    """Which network, and the height and width of its input, pixels."""

    network: options.Network
    size: options.Size


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to preprocessed frames `[n, size, size, 3]`; `arrays` is one of frames."""
    return partial(pictures, *arrays, name=options.network, size=options.size)


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """The untrained network."""
    return classifier(options.network, options.size, False, classes)
