"""Inputs of the networks, made of what is on disk as in training and prediction."""

import numpy as np

from scenes.classifiers import image_networks, patch_layer, strict, vgg14
from scenes.classifiers.patches import excerpts
from scenes.learning.backend import keras


def patches(spectrograms: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """float32 `[n, bins, width, 6]`."""
    return made(patch_layer.front(spectrograms), excerpts(spectrograms, clips, seconds))


def strict_patches(spectrograms: np.ndarray, clips: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """float32 `[n, bins, width, 6]`."""
    family = vgg14.Options(), [spectrograms]
    return made(strict.front(*family), strict.load(*family)(clips, seconds))


def pictures(frames: np.ndarray, clips: np.ndarray, seconds: np.ndarray, name: str, size: int) -> np.ndarray:
    """float32 `[n, size, size, 3]`."""
    return made(image_networks.front(name, size, frames.shape[-2]), frames[clips, seconds])


def made(front: keras.Model, stored):
    """What the preprocessing gives for what is on disk, an array or a tuple of them."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, front(stored))
