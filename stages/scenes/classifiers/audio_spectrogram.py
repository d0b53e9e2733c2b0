"""Audio-spectrogram classifiers: VGG14 (the paper, Table I) on the patches of a spectrogram."""

from functools import partial

from scenes.classifiers.patches import patch_shape, patches
from scenes.classifiers.vgg14 import Options, vgg14
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to patches `[n, bins, frames, 6]`; `arrays` is one of spectrograms."""
    return partial(patches, *arrays)


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """VGG14 for the patches of these spectrograms."""
    return vgg14(classes, options, patch_shape(*arrays))
