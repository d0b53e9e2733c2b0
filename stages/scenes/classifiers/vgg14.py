"""VGG14, the network of the audio-spectrogram frameworks (the paper, Table I)."""

from dataclasses import dataclass

from scenes.learning.backend import keras
from scenes.stage import options
from scenes.stage.errors import InputError

layers = keras.layers

CONVOLUTIONS = (2, 2, 4, 4)
FEATURES = "features"  # the layer whose output they are, global average pooling


@dataclass(frozen=True)
class Options:
    """The numbers of VGG14, by default the paper's.

    Attributes
    ----------
    widths : sequence of int
        Channels of the four groups of 2, 2, 4 and 4 convolutions.
    dense : int
        Units of the first dense layer.
    dropout : sequence of float
        Dropout rate of each group.
    dense_dropout : float
        Dropout rate after the first dense layer.
    momentum : float
        Momentum of the moving averages of batch normalisation.
    batch_norm : str
        `both`: before and after each convolution, as Table I has it. `after`: before the first and after each one.
    """

    widths: options.Widths = (64, 128, 256, 512)
    dense: options.Units = 1024
    dropout: options.DropoutRates = (0.25, 0.3, 0.35, 0.35)
    dense_dropout: options.DropoutRate = 0.4
    momentum: options.Momentum = 0.9
    batch_norm: options.BatchNorm = "both"


def vgg14(classes: int, options: Options, shape: tuple[int, int] = (128, 128)) -> keras.Model:
    """Build VGG14: 12 convolutions 3x3, global average pooling, 2 dense layers.

    Each row of convolutions in Table I reads BN, Conv, ReLU, BN, dropout: 24 batch norms. Average pooling 2x2 follows
    convolutions 2, 4 and 8. With the paper's widths 64, 128, 256, 512 and 1024 dense units the convolutions and dense
    layers have 11.1 million parameters.

    The first batch norm computes in float32 under every policy: bfloat16 rounds the logarithms of magnitudes by up to
    half a decibel.

    Parameters
    ----------
    classes : int
        Number of classes.
    options : Options
        Its numbers.
    shape : tuple of int
        Frequency bins and frames of a patch.

    Returns
    -------
    Model
        From patches `[batch, bins, frames, 6]` to probabilities `[batch, classes]`.

    Raises
    ------
    InputError
        If there are not four widths and four dropout rates.
    """
    if len(options.widths) != len(CONVOLUTIONS) or len(options.dropout) != len(CONVOLUTIONS):
        raise InputError(f"vgg14: widths and dropout must each have {len(CONVOLUTIONS)} values, one a group")
    patches = x = keras.Input((*shape, 6))
    x = layers.BatchNormalization(momentum=options.momentum, dtype=keras.config.floatx())(x)
    for group, (count, width, rate) in enumerate(zip(CONVOLUTIONS, options.widths, options.dropout, strict=True)):
        for convolution in range(count):
            if options.batch_norm == "both" and (group, convolution) != (0, 0):
                x = layers.BatchNormalization(momentum=options.momentum)(x)
            x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
            x = layers.BatchNormalization(momentum=options.momentum)(x)
            if convolution == count - 1 and group < len(CONVOLUTIONS) - 1:
                x = layers.AveragePooling2D(2)(x)
            x = layers.Dropout(rate)(x)
    x = layers.GlobalAveragePooling2D(name=FEATURES)(x)
    x = layers.Dense(options.dense, activation="relu")(x)
    x = layers.Dropout(options.dense_dropout)(x)
    x = layers.Dense(classes, activation="softmax", dtype=keras.config.floatx())(x)
    return keras.Model(patches, x, name="vgg14")
