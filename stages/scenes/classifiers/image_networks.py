"""Keras applications, such as the seven of the paper's visual frameworks (Table IV), from ImageNet or untrained."""

import sys
import warnings
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from types import ModuleType

import numpy as np

from scenes.learning.backend import keras
from scenes.learning.inference import finite
from scenes.stage.errors import InputError

applications = keras.applications
VGG19_SIZE = 224
SCENE = "scene"  # the last layer of a classifier, on top of the features


def extractor(name: str, size: int, pretrained: bool, weights: str = "none") -> keras.Model:
    """Build a network up to its second-to-last layer: global average pooling, or fc2 for VGG19.

    Parameters
    ----------
    name : str
        One of Keras' applications, such as `InceptionV3`.
    size : int
        Height and width of the pictures, pixels.
    pretrained : bool
        Whether to load trained weights, or keep the seeded initial ones.
    weights : str
        The file of the trained weights in one of Keras' forms (`.h5` or `.weights.h5`, with or without the top), or
        `none` for the ImageNet weights (downloaded, checked and kept by Keras).

    Returns
    -------
    Model
        From preprocessed pictures `[batch, size, size, 3]` to embeddings `[batch, D]`.

    Raises
    ------
    InputError
        If Keras does not have the network at this size, cannot get the weights, or they are another network's.
    """
    _application(name)
    if weights != "none" and not pretrained:
        raise InputError(
            f"{name}: weights {weights} are given, but pretrained is false; set it to true, or weights: none"
        )
    if name == "VGG19" and pretrained and size != VGG19_SIZE:
        raise InputError(f"VGG19: size {size}, but pretrained VGG19 (fc2) exists at {VGG19_SIZE} only; set that size")
    if weights != "none":
        return _load(name, size, Path(weights))
    try:
        return _build(name, size, top=name == "VGG19", weights="imagenet" if pretrained else None)
    except ValueError as error:
        raise InputError(f"{name} at {size} pixels: {' '.join(str(error).split())}") from error
    except Exception as error:
        if not pretrained:
            raise
        raise InputError(
            f"{name}: cannot get the ImageNet weights ({error}); put that file into ~/.keras/models, name it with "
            "`weights`, or set pretrained to false"
        ) from error


def published(name: str, size: int) -> tuple[Path, str, int]:
    """Where Keras keeps the ImageNet weights that `extractor` loads, where it gets them, and about their bytes."""
    file_utils, found = _application(name).file_utils, []

    def get_file(file: str, origin: str, cache_subdir: str, **keywords: object) -> str:
        found.extend([Path(file_utils.config.keras_home(), cache_subdir, file), origin])
        return file

    actual = file_utils.get_file, keras.Model.load_weights
    file_utils.get_file = get_file
    keras.Model.load_weights = lambda network, path: found.append(4 * network.count_params())
    try:
        extractor(name, size, pretrained=True)
    finally:
        file_utils.get_file, keras.Model.load_weights = actual
    return tuple(found)


def weights_inputs(weights: str) -> list[Path]:
    """The file of weights that `extractor` reads, as a part of a stage's inputs: of `none` there is none."""
    return [] if weights == "none" else [Path(weights)]


def _application(name: str) -> ModuleType:
    """The module of one of Keras' applications, with the preprocessing that belongs to its weights."""
    build = getattr(applications, name, None)
    if not isfunction(build):
        raise InputError(f"network {name!r} is not one of Keras' applications, such as InceptionV3")
    return import_module(build.__module__)


def _build(name: str, size: int, top: bool, weights: str | None = None) -> keras.Model:
    build, shape = getattr(applications, name), (size, size, 3)
    if not top:
        return build(include_top=False, pooling="avg", weights=weights, input_shape=shape)
    full = build(weights=weights, input_shape=shape)
    return keras.Model(full.input, full.layers[-2].output)


def _load(name: str, size: int, path: Path) -> keras.Model:
    if not path.is_file():
        raise InputError(f"{path}: no such file of weights of {name}; set `weights` to a file, or to none")
    for top in (True,) if name == "VGG19" else (False, True):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # Keras only warns of a layer that the file lacks
                network = _build(name, size, top, weights=str(path))
        except (ValueError, KeyError, OSError, UserWarning) as error:
            reason = str(error).strip().partition("\n")[0]
        else:
            if finite(network):
                return network
            raise InputError(f"{path}: holds weights that are not finite; put whole weights of {name} there")
    raise InputError(f"{path}: not the weights of {name} in one of Keras' forms ({reason})")


def classifier(name: str, size: int, pretrained: bool, classes: int, weights: str = "none") -> keras.Model:
    """Build a network whose last layer has `classes` units, every layer trainable (the paper, section III-C).

    The other parameters and the errors are those of `extractor`.

    Returns
    -------
    Model
        From preprocessed pictures `[batch, size, size, 3]` to probabilities `[batch, classes]`.
    """
    network = extractor(name, size, pretrained, weights)
    head = keras.layers.Dense(classes, activation="softmax", name=SCENE, dtype=keras.config.floatx())
    return keras.Model(network.input, head(network.output), name=name)


def warn_if_enlarged(frames: np.ndarray, name: str, size: int) -> None:
    """Say so if the stored frames `[clips, 10, S, S, 3]` are smaller than a network's pictures."""
    stored = frames.shape[2]
    if stored < size:
        print(
            f"warning: frames.size: {stored} is smaller than {name}'s size {size}: frames are enlarged", file=sys.stderr
        )


def resized(frames, size: int):
    """Frames uint8 `[n, S, S, 3]` as float32 `[n, size, size, 3]`, 0 to 255 (antialiased bilinear)."""
    pictures = keras.ops.cast(frames, "float32")
    if frames.shape[1] != size:
        pictures = keras.ops.image.resize(pictures, (size, size), "bilinear", antialias=True)
    return pictures


class Preprocessing(keras.layers.Layer):
    """Frames uint8 `[n, S, S, 3]`, RGB, as a network wants them, float32 `[n, size, size, 3]`, on the device.

    In float32 under every policy.

    Parameters
    ----------
    name : str
        One of Keras' applications; its own `preprocess_input` is applied.
    size : int
        Height and width wanted, pixels; other frames are resized (antialiased bilinear).
    """

    def __init__(self, name: str, size: int) -> None:
        super().__init__(dtype="float32")
        self.size, self.preprocess = size, _application(name).preprocess_input

    def call(self, frames):
        return self.preprocess(resized(frames, self.size))


def front(name: str, size: int, stored: int) -> keras.Model:
    """The preprocessing of frames that are stored at `stored` pixels, uint8 `[n, stored, stored, 3]`."""
    frames = keras.Input((stored, stored, 3), dtype="uint8")
    return keras.Model(frames, Preprocessing(name, size)(frames), name="preprocessing")
