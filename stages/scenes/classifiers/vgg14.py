"""VGG14, the network of the audio-spectrogram frameworks (the paper, Table I)."""

from scenes.learning.backend import keras
from scenes.stage.errors import InputError

layers = keras.layers

CONVOLUTIONS = (2, 2, 4, 4)
WIDTHS = [64, 128, 256, 512]
DROPOUT = [0.25, 0.3, 0.35, 0.35]
FEATURES = "features"  # the layer whose output they are, global average pooling


def vgg14(
    classes: int,
    widths: list[int],
    dense: int,
    dropout: list[float],
    dense_dropout: float,
    momentum: float,
    bins: int = 128,
) -> keras.Model:
    """Build VGG14: batch normalisation, 12 convolutions 3x3, global average pooling, 2 dense layers.

    Each convolution is followed by ReLU, batch normalisation and dropout; average pooling 2x2 follows convolutions 2,
    4 and 8. With the paper's widths 64, 128, 256, 512 and 1024 dense units it has 11.1 million parameters.

    Parameters
    ----------
    classes : int
        Number of classes.
    widths : list of int
        Channels of the four groups of 2, 2, 4 and 4 convolutions.
    dense : int
        Units of the first dense layer.
    dropout : list of float
        Dropout rate of each group.
    dense_dropout : float
        Dropout rate after the first dense layer.
    momentum : float
        Momentum of the moving averages of batch normalisation.
    bins : int
        Frequency bins of a patch.

    Returns
    -------
    Model
        From patches `[batch, bins, 128, 6]` to probabilities `[batch, classes]`.

    Raises
    ------
    InputError
        If there are not four widths and four dropout rates.
    """
    if len(widths) != len(CONVOLUTIONS) or len(dropout) != len(CONVOLUTIONS):
        raise InputError(f"vgg14: widths and dropout must each have {len(CONVOLUTIONS)} values, one a group")
    patches = x = keras.Input((bins, 128, 6))
    x = layers.BatchNormalization(momentum=momentum)(x)
    for group, (count, width, rate) in enumerate(zip(CONVOLUTIONS, widths, dropout, strict=True)):
        for convolution in range(count):
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
            x = layers.BatchNormalization(momentum=momentum)(x)
            if convolution == count - 1 and group < len(CONVOLUTIONS) - 1:
                x = layers.AveragePooling2D(2)(x)
            x = layers.Dropout(rate)(x)
    x = layers.GlobalAveragePooling2D(name=FEATURES)(x)
    x = layers.Dense(dense, activation="relu")(x)
    x = layers.Dropout(dense_dropout)(x)
    x = layers.Dense(classes, activation="softmax", dtype=keras.config.floatx())(x)
    return keras.Model(patches, x, name="vgg14")
