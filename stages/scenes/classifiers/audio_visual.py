"""One network that hears and sees, trained end to end: the joint learning that the paper names as further work.

VGG14 (Table I) hears the patch of a second up to its global average pooling, a Keras application (Table IV) sees the
frame of the same second up to its pooled features, and the MLP of Table II takes both, side by side.
"""

from scenes.classifiers.image_networks import SCENE
from scenes.classifiers.mlp import head
from scenes.classifiers.vgg14 import FEATURES
from scenes.learning.backend import keras
from scenes.learning.batches import Load

MODALITIES = ["audio", "video"]  # the columns of split.csv that a clip must have


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
    features = audio.get_layer(FEATURES).output, image.get_layer(SCENE).input
    probabilities = head(keras.layers.Concatenate()(features), classes, widths, dropout)
    return keras.Model((audio.input, image.input), probabilities, name="audio_visual")


def loader(patches: Load, pictures: Load) -> Load:
    """From clips and seconds, int `[n]` each, to the inputs of `audio_visual`: both are of the same seconds."""
    return lambda clips, seconds: (patches(clips, seconds), pictures(clips, seconds))
