"""Audio-spectrogram classifiers: VGG14 (the paper, Table I) on the patches of a spectrogram."""

from functools import partial

from scenes.classifiers import patch_layer
from scenes.classifiers.patches import excerpts, patch_shape
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to what their patches are made of; `arrays` is one of spectrograms."""
    return partial(excerpts, *arrays)


def front(options: Options, arrays: list[Rows]) -> keras.Model:
    """From that to patches `[n, bins, frames, 6]`."""
    return patch_layer.front(*arrays)


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """VGG14 for the patches of these spectrograms."""
    return vgg14(classes, options, patch_shape(*arrays))
