"""Late fusion by rules that are fitted on a validation fold, beside the paper's fixed ones.

Log-linear pooling weighs each member's voice; PROD is the case of all weights 1. Stacking (Wolpert 1992) weighs each
member's log probability of each class. Members are `[M, clips, classes]` as in `scenes.evaluation.fusion`; where one is
NaN (it lacks the clip's modality) it says nothing, for or against any class.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from scenes.evaluation.fusion import logarithms, prod
from scenes.evaluation.metrics import SMALLEST

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # C of scikit-learn's logistic regression: the smallest holds back the most
FOLDS = 5

# Matrices this small are one thread's work: several would wait for one another, thirty times as long.
one_thread = threadpool_limits.wrap(limits=1)


@one_thread
def fit_log_linear(members: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights of log-linear pooling, `[M]`, none below 0, that make `penalised_loss` least.

    Parameters
    ----------
    members : ndarray
        `[M, clips, classes]`.
    labels : ndarray of int
        `[clips]`.
    """
    start = np.ones(len(members))
    arguments = (logarithms(members), labels)
    return minimize(penalised_loss, start, arguments, "L-BFGS-B", jac=True, bounds=[(0, None)] * len(members)).x


def penalised_loss(weights: np.ndarray, logs: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """What the weights are fitted by, and its gradient: the log loss summed over clips, and half of sum (w - 1)^2.

    The second term is a Gaussian prior around PROD. It keeps a handful of clips, which some weights separate without
    an error, from driving these to infinity, and fades before thousands. Both terms are convex.

    Parameters
    ----------
    weights : ndarray
        `[M]`.
    logs : ndarray
        `[M, clips, classes]`, by `scenes.evaluation.fusion.logarithms`.
    labels : ndarray of int
        `[clips]`.
    """
    clips = np.arange(len(labels))
    pooled = log_softmax(np.tensordot(weights, logs, 1), axis=-1)
    expected = (np.exp(pooled) * logs).sum(axis=-1)
    loss = -pooled[clips, labels].sum() + ((weights - 1) ** 2).sum() / 2
    return loss, (expected - logs[:, clips, labels]).sum(axis=-1) + weights - 1


@one_thread
def fit_stacked(members: np.ndarray, labels: np.ndarray, places: np.ndarray) -> LogisticRegression:
    """Multinomial logistic regression on the members' log probabilities.

    Its regularisation is that of `STRENGTHS` with the least log loss in a cross-validation whose folds share no
    location. Where a class has but one location this cannot be asked, and the strongest is taken.

    Parameters
    ----------
    members : ndarray
        `[M, clips, classes]`.
    labels : ndarray of int
        `[clips]`, of at least two classes.
    places : ndarray of str
        `[clips]`, the location of each.
    """
    features, classes = _features(members), np.unique(labels)
    strength = STRENGTHS[0]
    folds = min(FOLDS, *(len(np.unique(places[labels == label])) for label in classes))
    if folds > 1:

        def held_out_loss(strength: float) -> float:
            of_others = cross_val_predict(
                _regression(strength), features, labels, groups=places, cv=StratifiedGroupKFold(folds),
                method="predict_proba",
            )  # fmt: skip
            return log_loss(labels, of_others, labels=classes)

        strength = min(STRENGTHS, key=held_out_loss)
    return _regression(strength).fit(features, labels)


def stacked(members: np.ndarray, regression: LogisticRegression) -> np.ndarray:
    """Fuse by a fitted regression; a class that it has not seen keeps the probability that PROD gives it."""
    fused, seen = prod(members), regression.classes_
    fused[:, seen] = fused[:, seen].sum(axis=1, keepdims=True) * regression.predict_proba(_features(members))
    return fused


def shares(regression: LogisticRegression, members: int) -> np.ndarray:
    """How much of a fitted regression rests on each member, `[M]`: its part of the sum of absolute coefficients.

    All are 0 if every coefficient is: members that say the same of every clip teach nothing.
    """
    sums = np.abs(regression.coef_).reshape(len(regression.coef_), members, -1).sum(axis=(0, 2))
    return sums / max(sums.sum(), np.finfo(np.float64).tiny)


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=1000)


def _features(members: np.ndarray) -> np.ndarray:
    """Log probabilities less their mean over the classes, `[clips, M * classes]`, 0 where a member says nothing."""
    logs = np.log(np.maximum(members, SMALLEST))
    centred = np.nan_to_num(logs - logs.mean(axis=-1, keepdims=True))
    return centred.swapaxes(0, 1).reshape(members.shape[1], -1)
