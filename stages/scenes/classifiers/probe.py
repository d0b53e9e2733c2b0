"""Linear probes: multinomial logistic regression on one embedding a second, as frozen networks are usually judged."""

import warnings
from dataclasses import dataclass

import numpy as np

from scenes.classifiers.embedding import front, load
from scenes.dataset.tables import Rows
from scenes.learning.backend import keras
from scenes.stage.errors import InputError

__all__ = ["Options", "Probe", "fit", "front", "load", "network"]

ITERATIONS = 2_000  # of L-BFGS at most
UNSEEN = -1e4  # logit of a class that no sample is of: its probability is 0


@dataclass(frozen=True)
class Options:
    """A probe has no numbers of its own."""


def network(options: Options, arrays: list[Rows], classes: int) -> keras.Model:
    """From embeddings `[n, D]` to probabilities `[n, classes]`: one dense layer."""
    embeddings = keras.Input((arrays[0].shape[-1],))
    probabilities = keras.layers.Dense(classes, activation="softmax", name="scene", dtype="float32")(embeddings)
    return keras.Model(embeddings, probabilities, name="probe")


@dataclass(frozen=True)
class Probe:
    """The weights `[D, classes]` and biases `[classes]` of the dense layer, in float64."""

    weights: np.ndarray
    biases: np.ndarray

    def logarithms(self, embeddings: np.ndarray) -> np.ndarray:
        """Logarithms of the probabilities, `[n, classes]`."""
        logits = embeddings @ self.weights + self.biases
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def fit(embeddings: np.ndarray, labels: np.ndarray, classes: int, strength: float) -> Probe:
    """Fit a probe: the mean Kullback-Leibler divergence plus L2 on the weights, of which there is one minimum.

    Parameters
    ----------
    embeddings : ndarray
        float `[n, D]`. Each of the D numbers is standardised first, so that one strength suits all; the result is for
        embeddings as they are.
    labels : ndarray of int
        `[n]`.
    classes : int
        How many there are; those without a sample get probability 0.
    strength : float
        Of L2: the sum of the squares of all weights is multiplied by half of it and added to the mean divergence.

    Raises
    ------
    InputError
        If all samples are of one class, or the solver does not come to an end.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression  # a second, which predicting does without

    seen = np.unique(labels)
    if len(seen) < 2:
        raise InputError("probe: all train clips are of one class; nothing can be told apart")
    mean, scale = embeddings.mean(axis=0, dtype=np.float64), embeddings.std(axis=0, dtype=np.float64)
    scale[scale == 0] = 1
    standardised = np.subtract(embeddings, mean, dtype=np.float64)
    standardised /= scale
    model = LogisticRegression(C=1 / (strength * len(labels)), max_iter=ITERATIONS, tol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(standardised, labels)
        except ConvergenceWarning as error:
            raise InputError(
                f"probe: no minimum after {ITERATIONS} steps at strength {strength:g}; leave it out of probe.strengths"
            ) from error
    weights, biases = np.zeros((embeddings.shape[1], classes)), np.full(classes, UNSEEN)
    # Of two classes scikit-learn has one column, the difference of two that are each other's opposites.
    both = len(seen) == 2
    weights[:, seen] = (np.stack([-model.coef_[0], model.coef_[0]]) / 2 if both else model.coef_).T / scale[:, None]
    biases[seen] = np.stack([-model.intercept_[0], model.intercept_[0]]) / 2 if both else model.intercept_
    biases[seen] -= mean @ weights[:, seen]
    return Probe(weights, biases)
