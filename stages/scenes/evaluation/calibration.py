"""Temperature scaling (Guo et al. 2017, arXiv 1706.04599, Section 4.2): one number that makes a classifier as sure as
it is right.

A temperature above 1 flattens probabilities, one below 1 sharpens them. It never changes which class of a single second
is the most probable; a clip's, the mean over its seconds, may change.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from scenes.evaluation.metrics import SMALLEST, log_losses

COLUMNS = ["framework", "temperature", "protocol", "log_loss_before", "log_loss_after", "difference", "low", "high",
           "calibration_error_before", "calibration_error_after"]  # of metrics/calibrate.csv  # fmt: skip
LIMITS = (0.05, 20.0)  # of a temperature: a classifier without an error on its few clips would have it at 0


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities to the power of `1 / temperature`, renormalised, `[..., classes]`; NaN stays NaN."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature within `LIMITS` of the least mean log loss.

    Parameters
    ----------
    labels : ndarray of int
        `[units]`.
    probabilities : ndarray
        `[units, classes]`, none of them NaN.
    """

    def loss(logarithm: float) -> float:
        return log_losses(labels, temper(probabilities, np.exp(logarithm))).mean()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(LIMITS), method="bounded").x))
