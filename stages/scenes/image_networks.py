"""The seven Keras applications of the paper's visual frameworks (Table IV), from ImageNet or untrained."""

from types import ModuleType

import numpy as np

from scenes.backend import keras
from scenes.errors import InputError

applications = keras.applications

MODULES: dict[str, ModuleType] = {
    "Xception": applications.xception,
    "VGG19": applications.vgg19,
    "ResNet50": applications.resnet50,
    "InceptionV3": applications.inception_v3,
    "MobileNetV2": applications.mobilenet_v2,
    "DenseNet121": applications.densenet,
    "NASNetLarge": applications.nasnet,
}


def extractor(name: str, size: int, pretrained: bool) -> keras.Model:
    """Build a network up to its second-to-last layer: global average pooling, or fc2 for VGG19.

    Parameters
    ----------
    name : str
        One of the seven Keras applications.
    size : int
        Height and width of the pictures, pixels.
    pretrained : bool
        Whether to load the ImageNet weights (downloaded and checked by Keras), or keep the seeded initial ones.

    Returns
    -------
    Model
        From preprocessed pictures `[batch, size, size, 3]` to embeddings `[batch, D]`.

    Raises
    ------
    InputError
        If Keras does not have the network at this size or cannot get the weights.
    """
    if name not in MODULES:
        raise InputError(f"network {name!r} is not one of {', '.join(MODULES)}")
    weights = "imagenet" if pretrained else None
    try:
        if name == "VGG19":
            full = applications.VGG19(weights=weights, input_shape=(size, size, 3))
            return keras.Model(full.input, full.get_layer("fc2").output)
        build = getattr(MODULES[name], name)
        return build(include_top=False, pooling="avg", weights=weights, input_shape=(size, size, 3))
    except ValueError as error:
        raise InputError(f"{name} at {size} pixels: {' '.join(str(error).split())}") from error
    except Exception as error:
        if not pretrained:
            raise
        raise InputError(f"{name}: cannot get the ImageNet weights ({error}); set pretrained to false") from error


def classifier(name: str, size: int, pretrained: bool, classes: int) -> keras.Model:
    """Build a network whose last layer has `classes` units, every layer trainable (the paper, section III-C).

    Returns
    -------
    Model
        From preprocessed pictures `[batch, size, size, 3]` to probabilities `[batch, classes]`.
    """
    network = extractor(name, size, pretrained)
    head = keras.layers.Dense(classes, activation="softmax", name="scene")
    return keras.Model(network.input, head(network.output), name=name)


def pictures(frames: np.ndarray, clips: np.ndarray, seconds: np.ndarray, *, name: str, size: int) -> np.ndarray:
    """Take one frame for each pair of a clip and a second, as the network wants it.

    Parameters
    ----------
    frames : ndarray
        uint8 `[clips, 10, S, S, 3]`, RGB, may be memory-mapped.
    clips, seconds : ndarray of int
        `[n]` each; seconds count from 0 to 9.
    name : str
        One of the seven Keras applications; its own `preprocess_input` is applied.
    size : int
        Height and width wanted, pixels; other frames are resized (antialiased bilinear).

    Returns
    -------
    ndarray
        float32 `[n, size, size, 3]`.
    """
    chosen = frames[clips, seconds].astype(np.float32)
    if chosen.shape[1] != size:
        chosen = keras.ops.convert_to_numpy(keras.ops.image.resize(chosen, (size, size), "bilinear", antialias=True))
    return MODULES[name].preprocess_input(chosen)
