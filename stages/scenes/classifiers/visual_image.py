"""Visual-image classifiers: a Keras application (the paper, Table IV) on single frames."""

from dataclasses import dataclass

from scenes.classifiers import image_networks
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
    """From clips and seconds to frames as they are stored, uint8 `[n, S, S, 3]`; `arrays` is one of frames."""
    (frames,) = arrays
    return lambda clips, seconds: frames[clips, seconds]


def front(options: Options, arrays: list[Rows]) -> keras.Model:
    """From such frames to the network's pictures `[n, size, size, 3]`."""
    return image_networks.front(options.network, options.size, arrays[0].shape[-2])


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """The untrained network."""
    return image_networks.classifier(options.network, options.size, False, classes)
