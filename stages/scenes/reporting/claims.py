"""The paper's claims, each put to the test on the predictions at hand.

A claim holds if its point estimates say so; the figure behind it carries the paired interval over locations. Claims
about differences compare the clips that both sides scored.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from scenes.evaluation.metrics import by_class
from scenes.reporting.markdown import NOT_RUN, name, percent
from scenes.reporting.published import TABLE_VI, TABLE_VII
from scenes.reporting.results import NotRunError, Results

SPECTROGRAMS = [framework for framework in TABLE_VI if framework.startswith("audio_spectrogram/")]
AUDIO_EMBEDDINGS = [framework for framework in TABLE_VI if framework.startswith("audio_embedding/")]
IMAGES = [framework for framework in TABLE_VII if framework.startswith("visual_image/")]
VISUAL_EMBEDDINGS = [framework for framework in TABLE_VII if framework.startswith("visual_embedding/")]

AUDIO_BEST, VISUAL_BEST = "fuse/audio_best-prod", "fuse/visual_images-prod"
TWO_NETWORKS, ALL_MODELS = "fuse/mel_inception-prod", "fuse/all_models-prod"
STABLE = 0.01


class Claim(NamedTuple):
    """A claim, with how it is judged; the paper's figure; and the judge: does it hold, and the figure behind it."""

    text: str
    paper: str
    judge: Callable[[Results, pd.DataFrame], tuple[bool, str]]


def every_fusion_helps_spectrograms(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _fusions(results, "audio_spectrograms", SPECTROGRAMS, helping={"max", "mean", "prod"})


def spectrograms_beat_embeddings(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    worst = min(SPECTROGRAMS, key=lambda framework: np.nanmean(results.of(framework)))
    best = results.best(AUDIO_EMBEDDINGS)
    return _ahead(results, worst, best)


def cnn14_adds_to_spectrograms(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _ahead(results, AUDIO_BEST, "fuse/audio_spectrograms-prod")


def visual_beats_audio_except_park_and_tram(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    exceptions = {"park", "tram"}
    if not exceptions <= set(results.classes["class"]):
        raise NotRunError("the classes park and tram")
    both = ~np.isnan(results.of(AUDIO_BEST)) & ~np.isnan(results.of(VISUAL_BEST))
    audio, visual = (
        by_class(results.labels[both], results.probabilities[framework][both])["accuracy"]
        for framework in (AUDIO_BEST, VISUAL_BEST)
    )
    ahead = list(results.classes["class"][(audio > visual).to_numpy()])
    level = list(results.classes["class"][(audio == visual).to_numpy()])
    said = f"audio ahead in {', '.join(ahead) or 'no class'}" + (f"; level in {', '.join(level)}" if level else "")
    return set(ahead) == exceptions and not level, said


def direct_training_beats_embeddings(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    pairs = list(zip(IMAGES, VISUAL_EMBEDDINGS, strict=True))
    gains = {image: results.difference(image, embedding) for image, embedding in pairs}
    least = min(gains, key=lambda image: gains[image][0])
    better = sum(gain[0] > 0 for gain in gains.values())
    return better == len(gains), f"{better} of {len(gains)} networks; least {_points(gains[least])} ({name(least)})"


def only_max_helps_visual_embeddings(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _fusions(results, "visual_embeddings", VISUAL_EMBEDDINGS, helping={"max"})


def two_networks_come_close(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    behind = results.difference(ALL_MODELS, TWO_NETWORKS)
    return round(behind[0], 4) <= 0.011, f"all_models {_points(behind)}"


def errors_stay_inside_meta_classes(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    scored = ~np.isnan(results.of(ALL_MODELS))
    predicted = results.probabilities[ALL_MODELS][scored].argmax(axis=1)
    actual, meta = results.labels[scored], results.classes["meta_class"].to_numpy()
    wrong = predicted != actual
    inside = int((meta[predicted] == meta[actual])[wrong].sum())
    return 2 * inside > wrong.sum() or not wrong.any(), f"{inside} of {wrong.sum()} errors"


def early_and_stable(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    holds, said = True, []
    for framework in ("mel_inception", "all_models"):
        curve = detection[detection["framework"] == framework].set_index("seconds")["accuracy"]
        if curve.empty:
            raise NotRunError(framework)
        drift = (curve.loc[6:] - curve.iloc[-1]).abs().max()
        holds &= bool(curve.loc[1] > 0.9 and drift <= STABLE)
        said.append(f"`{framework}` {percent(curve.loc[1])} at 1 s, then within {100 * drift:.1f}")
    return holds, "; ".join(said)


def audio_ahead_of_baseline(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _gain(results, AUDIO_BEST, "dcase_baseline/audio", 0.171)


def visual_ahead_of_baseline(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _gain(results, VISUAL_BEST, "dcase_baseline/visual", 0.262)


def audio_visual_ahead_of_baseline(results: Results, detection: pd.DataFrame) -> tuple[bool, str]:
    return _gain(results, ALL_MODELS, "dcase_baseline/official", 0.165)


CLAIMS = [
    Claim(
        "Every fusion helps spectrograms: each rule is above the best of the three",
        "MAX +5.8, MEAN +7.5, PROD +8.2",
        every_fusion_helps_spectrograms,
    ),
    Claim(
        "Spectrograms beat audio embeddings: the worst of the three is above the best of the five",
        "+3.9 (68.3 and 64.4)",
        spectrograms_beat_embeddings,
    ),
    Claim(
        "Embeddings of CNN14 still add to the spectrograms: PROD with them is above PROD without",
        "+1.8 (82.2 and 80.4)",
        cnn14_adds_to_spectrograms,
    ),
    Claim(
        "Visual beats audio except for park and tram: `audio_best` PROD is ahead of `visual_images` PROD in these two "
        "classes and in no other",
        "stated, without figures",
        visual_beats_audio_except_park_and_tram,
    ),
    Claim(
        "Direct training beats embeddings: each image network is above the same network's embedding",
        "7 of 7 networks; least +3.0 (VGG19)",
        direct_training_beats_embeddings,
    ),
    Claim(
        "Only MAX helps image embeddings: it is above the best of the seven, MEAN and PROD are not (by Table VII, PROD "
        "is too)",
        "MAX +3.0, MEAN -1.7, PROD +0.8",
        only_max_helps_visual_embeddings,
    ),
    Claim(
        "Two networks come close to six: `mel_inception` PROD is at most 1.1 points, the paper's gap, behind "
        "`all_models` PROD",
        "all_models +1.1",
        two_networks_come_close,
    ),
    Claim(
        "Errors stay inside meta-classes: more than half of those of `all_models` PROD",
        "88.5 % of the errors (99.3 and 93.9 % right)",
        errors_stay_inside_meta_classes,
    ),
    Claim(
        "Above 90 % at the first second and stable after the sixth: both audio-visual ensembles, within "
        f"{100 * STABLE:.0f} point of their end from there on",
        "Fig. 4",
        early_and_stable,
    ),
    Claim(
        "Best audio is 17.1 points above the baseline: `audio_best` PROD on clips, the baseline on single seconds",
        "+17.1 (82.2 and 65.1); clips against clips +6.4",
        audio_ahead_of_baseline,
    ),
    Claim(
        "Best visual is 26.2 points above the baseline: `visual_images` PROD, likewise",
        "+26.2 (91.1 and 64.9); clips against clips +22.7",
        visual_ahead_of_baseline,
    ),
    Claim(
        "Best audio-visual is 16.5 points above the baseline: `all_models` PROD, likewise",
        "+16.5 (93.9 and 77.4); clips against clips +9.1",
        audio_visual_ahead_of_baseline,
    ),
]


def judged(results: Results, detection: pd.DataFrame) -> list[list[str]]:
    """Put every claim to the test.

    Parameters
    ----------
    results : Results
    detection : DataFrame
        metrics/early_detect.csv.

    Returns
    -------
    list of list of str
        Of each claim: its text, the paper's figure, ours, and holds, does not hold or not run.
    """
    rows = []
    for claim in CLAIMS:
        try:
            holds, figure = claim.judge(results, detection)
            verdict = "holds" if holds else "does not hold"
        except NotRunError as missing:
            figure, verdict = f"needs {missing}", NOT_RUN
        rows.append([claim.text, claim.paper, figure, verdict])
    return rows


def verdict(compared) -> str:
    """What a paired comparison says, a row with `low`, `high` and `p_value`: both tests have to find a difference."""
    if compared.p_value < 0.05 and compared.low > 0:
        return "ahead"
    return "behind" if compared.p_value < 0.05 and compared.high < 0 else "no difference found"


def _points(difference: tuple[float, float, float]) -> str:
    return percent(*difference, sign="+")


def _ahead(results: Results, first: str, second: str) -> tuple[bool, str]:
    gain = results.difference(first, second)
    return bool(gain[0] > 0), f"{_points(gain)} ({name(first)} and {name(second)})"


def _gain(results: Results, framework: str, baseline: str, paper: float) -> tuple[bool, str]:
    seconds = results.seconds_right(results.seconds_of(baseline))
    gain = results.mean(results.of(framework) - seconds)
    same = results.difference(framework, baseline)
    return round(gain[0], 4) >= paper, f"{_points(gain)}; clips against clips {_points(same)}"


def _fusions(results: Results, ensemble: str, members: list[str], helping: set[str]) -> tuple[bool, str]:
    best = results.best(members)
    gains = {rule: results.difference(f"fuse/{ensemble}-{rule}", best) for rule in ("max", "mean", "prod")}
    holds = all((gain[0] > 0) == (rule in helping) for rule, gain in gains.items())
    return holds, ", ".join(f"{rule.upper()} {_points(gain)}" for rule, gain in gains.items()) + f" over {name(best)}"
