"""OpenL3's audio and image networks (Cramer et al. 2019), whose embeddings the DCASE 2021 Task 1B baseline classifies.

Environmental content, 256 mels, 512 dimensions. The published weights are those of github.com/marl/openl3 (CC BY 4.0).
"""

import gzip
import io
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from scenes.learning.backend import keras
from scenes.stage.errors import InputError

layers = keras.layers

DIMENSION = 512
WIDTHS = [64, 128, 256, 512]
SHAPES = {"audio": (256, 199, 1), "visual": (224, 224, 3)}


class Published(NamedTuple):
    """A file of weights, its git blob SHA-1, and its size unpacked."""

    file: str
    sha1: str
    megabytes: float


GITHUB = "https://github.com/marl/openl3/raw/models"
PUBLISHED = {
    "audio": Published("openl3_audio_mel256_env-v0_4_0.h5.gz", "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc", 18.8),
    "visual": Published("openl3_image_mel256_env-v0_4_0.h5.gz", "dbdf24a7e837267487adb3eed1586fcd2e37d775", 18.8),
}


def network(modality: str, widths: list[int]) -> keras.Model:
    """Build one of the two networks: four blocks of two convolutions 3x3, the last one linear, then a global maximum.

    Each convolution but the last is followed by batch normalisation and ReLU. In the image network's first block the
    second convolution has ReLU first: its published weights belong to that order.

    Parameters
    ----------
    modality : str
        `audio` or `visual`.
    widths : list of int
        Channels of the four blocks, 64, 128, 256, 512 as published (4,689,860 and 4,691,020 parameters); the last
        convolution has 512 in any case.

    Returns
    -------
    Model
        From spectrograms `[batch, 256, 199, 1]` or pictures `[batch, 224, 224, 3]` to embeddings `[batch, 512]`.

    Raises
    ------
    InputError
        If there are not four widths.
    """
    if len(widths) != len(WIDTHS):
        raise InputError(f"openl3: widths must have {len(WIDTHS)} values, one a block, not {len(widths)}")
    inputs = keras.Input(SHAPES[modality])
    # In float32 in any case: bfloat16 has steps of half a decibel at -80.
    x = layers.BatchNormalization(dtype="float32")(inputs)
    for block, width in enumerate(widths):
        x = layers.ReLU()(layers.BatchNormalization()(_convolution(width)(x)))
        if block == len(widths) - 1:
            break
        x = _convolution(width)(x)
        order = [layers.BatchNormalization(), layers.ReLU()]
        for layer in reversed(order) if modality == "visual" and block == 0 else order:
            x = layer(x)
        x = layers.MaxPooling2D(2, padding="valid" if modality == "audio" else "same")(x)
    x = _convolution(DIMENSION)(x)
    x = layers.Flatten()(layers.MaxPooling2D(x.shape[1:3])(x))
    return keras.Model(inputs, x, name=f"openl3_{modality}")


def _convolution(width: int) -> keras.layers.Layer:
    return layers.Conv2D(width, 3, padding="same", kernel_initializer="he_normal")


def load(net: keras.Model, path: Path) -> None:
    """Load weights in the published layout: a packed HDF5 file with one group a layer, in the order of the layers.

    Raises
    ------
    InputError
        If the file holds anything else.
    """
    try:
        with gzip.open(path) as packed, h5py.File(io.BytesIO(packed.read())) as file:
            groups = [file[name] for name in file.attrs["layer_names"]]
            found = [[group[name][()] for name in group.attrs["weight_names"]] for group in groups]
    except FileNotFoundError:
        raise
    except (OSError, EOFError, KeyError) as error:
        raise InputError(f"{path}: not OpenL3's weights as published, an .h5.gz file ({error})") from error
    found = [array for arrays in found for array in arrays]
    wanted = [tuple(variable.shape) for variable in net.weights]
    if [array.shape for array in found] != wanted:
        raise InputError(f"{path}: weights of another network than {net.name} with its published widths")
    if not all(np.isfinite(array).all() for array in found):
        raise InputError(f"{path}: holds weights that are not finite; put the published file there")
    net.set_weights(found)
