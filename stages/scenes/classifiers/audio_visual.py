"""One network that hears and sees, trained end to end: the joint learning that the paper names as further work.

VGG14 (Table I) hears the patch of a second up to its global average pooling, a Keras application (Table IV) sees the
frame of the same second up to its pooled features, and the MLP of Table II takes both, side by side.
"""

from dataclasses import dataclass

from scenes.classifiers import audio_spectrogram, mlp, vgg14, visual_image
from scenes.classifiers.image_networks import SCENE
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.learning.batches import Load
from scenes.stage import options


@dataclass(frozen=True)
class MLPOptions:
    """The numbers of the MLP on the features of both, by default the paper's."""

    mlp_widths: options.Widths = (8192, 8192, 1024)
    mlp_dropout: options.DropoutRate = 0.4


@dataclass(frozen=True)
class Options(MLPOptions, vgg14.Options, visual_image.Options):
    """The numbers of both networks and of the MLP on the features of both."""


def audio_visual(
    audio: keras.Model, image: keras.Model, classes: int, widths: list[int], dropout: float
) -> keras.Model:
    """Join two classifiers of one modality each below their last layers; theirs are the layers and weights.

    Parameters
    ----------
    audio : Model
        As built by `vgg14`.
    image : Model
        As built by `image_networks.classifier`.
    classes : int
        Number of classes.
    widths : list of int
        Units of the MLP's hidden layers.
    dropout : float
        Dropout rate after each hidden layer.

    Returns
    -------
    Model
        From patches and preprocessed pictures, `[batch, bins, frames, 6]` and `[batch, size, size, 3]`, to
        probabilities `[batch, classes]`.
    """
    features = audio.get_layer(vgg14.FEATURES).output, image.get_layer(SCENE).input
    probabilities = mlp.head(keras.layers.Concatenate()(features), classes, widths, dropout)
    return keras.Model((audio.input, image.input), probabilities, name="audio_visual")


def load(options: Options, arrays: list[Rows]) -> Load:
    """From clips and seconds to what patches are made of, and frames of the same seconds."""
    heard = audio_spectrogram.load(options, arrays[:1])
    seen = visual_image.load(options, arrays[1:])
    return lambda clips, seconds: (*heard(clips, seconds), seen(clips, seconds))


def front(options: Options, arrays: list[Rows]) -> keras.Model:
    """From that to patches and pictures."""
    heard = audio_spectrogram.front(options, arrays[:1])
    seen = visual_image.front(options, arrays[1:])
    return keras.Model((*heard.inputs, *seen.inputs), (*heard.outputs, *seen.outputs), name="preprocessing")


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """The untrained network."""
    audio = audio_spectrogram.network(options, arrays[:1], classes)
    image = visual_image.network(options, arrays[1:], classes)
    return audio_visual(audio, image, classes, options.mlp_widths, options.mlp_dropout)
