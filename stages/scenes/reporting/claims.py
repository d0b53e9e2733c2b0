"""The paper's claims, each put to the test on the predictions at hand.

A claim says that a figure, mostly a difference of accuracies, lies above or below a threshold. It is supported if the
95 % interval over locations lies wholly on that side, contradicted if it lies wholly on the other, else undecided.
Differences are of the clips that both sides scored, and a threshold that the paper quotes is what rounds to it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import clip_probabilities, right
from scenes.evaluation.uncertainty import FEWEST
from scenes.reporting.markdown import NOT_RUN, TOO_FEW, name, percent
from scenes.reporting.published import TABLE_VI, TABLE_VII
from scenes.reporting.results import NotRunError, Results

SPECTROGRAMS = [framework for framework in TABLE_VI if framework.split("/")[0] == "audio_spectrogram"]
AUDIO_EMBEDDINGS = [framework for framework in TABLE_VI if framework.split("/")[0] == "audio_embedding"]
IMAGES = [framework for framework in TABLE_VII if framework.split("/")[0] == "visual_image"]
VISUAL_EMBEDDINGS = [framework for framework in TABLE_VII if framework.split("/")[0] == "visual_embedding"]

AUDIO_BEST, VISUAL_BEST = "fuse/audio_best-prod", "fuse/visual_images-prod"
TWO_NETWORKS, ALL_MODELS = "fuse/mel_inception-prod", "fuse/all_models-prod"
GAP = 0.011  # between the two, in the paper
STABLE = 0.01
ROUNDING = 0.0005  # half the last digit of the paper's per cents
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


class Claim(NamedTuple):
    """A claim, with how it is judged; the paper's figure; and the judge: the verdict, and the figure behind it."""

    text: str
    paper: str
    judge: Callable[[Results], tuple[str, str]]


def above(low: float, high: float, threshold: float = 0.0) -> str:
    """The verdict on a figure being above a threshold, by its interval.

    An interval without width (no clip differs, or all do) or without bounds (clips of one location) decides nothing.
    """
    if low < high and low > threshold:
        return SUPPORTED
    return CONTRADICTED if low < high < threshold else UNDECIDED


def below(low: float, high: float, threshold: float) -> str:
    """The verdict on a figure being below a threshold, by its interval."""
    return above(-high, -low, -threshold)


def all_of(verdicts: Iterable[str]) -> str:
    """The verdict on a claim of several parts: contradicted if one part is, supported if every part is."""
    found = set(verdicts)
    return CONTRADICTED if CONTRADICTED in found else UNDECIDED if UNDECIDED in found else SUPPORTED


def every_fusion_helps_spectrograms(results: Results) -> tuple[str, str]:
    return _fusions(results, "audio_spectrograms", SPECTROGRAMS, helping={"max", "mean", "prod"})


def spectrograms_beat_embeddings(results: Results) -> tuple[str, str]:
    worst = min(SPECTROGRAMS, key=lambda framework: np.nanmean(results.of(framework)))
    return _ahead(results, worst, results.best(AUDIO_EMBEDDINGS))


def cnn14_adds_to_spectrograms(results: Results) -> tuple[str, str]:
    return _ahead(results, AUDIO_BEST, "fuse/audio_spectrograms-prod")


def visual_beats_audio_except_park_and_tram(results: Results) -> tuple[str, str]:
    names, exceptions = list(results.classes["class"]), {"park", "tram"}
    if not exceptions <= set(names):
        raise NotRunError("the classes park and tram")
    change = results.of(VISUAL_BEST) - results.of(AUDIO_BEST)
    visual = {
        name: _gain(results, np.where(results.labels == number, change, np.nan))[0] for number, name in enumerate(names)
    }
    words = {SUPPORTED: "visual ahead in", CONTRADICTED: "audio ahead in", UNDECIDED: "undecided in"}
    said = [f"{word} {', '.join(name for name in names if visual[name] == verdict) or 'no class'}"
            for verdict, word in words.items()]  # fmt: skip
    return all_of(_not(visual[name]) if name in exceptions else visual[name] for name in names), "; ".join(said)


def direct_training_beats_embeddings(results: Results) -> tuple[str, str]:
    changes = [results.of(image) - results.of(embedding)
               for image, embedding in zip(IMAGES, VISUAL_EMBEDDINGS, strict=True)]  # fmt: skip
    verdicts, said = zip(*(_gain(results, change) for change in changes), strict=True)
    least = int(np.argmin([np.nanmean(change) for change in changes]))
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in (SUPPORTED, CONTRADICTED, UNDECIDED))
    return all_of(verdicts), f"of {len(changes)} networks {counts}; least {said[least]} ({name(IMAGES[least])})"


def only_max_helps_visual_embeddings(results: Results) -> tuple[str, str]:
    return _fusions(results, "visual_embeddings", VISUAL_EMBEDDINGS, helping={"max"})


def two_networks_come_close(results: Results) -> tuple[str, str]:
    behind = results.difference(ALL_MODELS, TWO_NETWORKS)
    return below(*behind[1:], GAP + ROUNDING), f"all_models {_points(behind)}"


def errors_stay_inside_meta_classes(results: Results) -> tuple[str, str]:
    hits, meta = results.of(ALL_MODELS), results.classes["meta_class"].to_numpy()
    predicted = results.probabilities[ALL_MODELS].argmax(axis=1)
    inside = np.where(hits == 0, meta[predicted] == meta[results.labels], np.nan)
    share = results.mean(inside)
    return above(*share[1:], 0.5), f"{np.nansum(inside):.0f} of {(hits == 0).sum()} errors, {percent(*share)} %"


def early_and_stable(results: Results) -> tuple[str, str]:
    verdicts, said = [], []
    for ensemble in ("mel_inception", "all_models"):
        members = results.members_seconds(ensemble)
        hits = [
            right(results.labels, prod(np.stack([clip_probabilities(member[:, :heard]) for member in members])))
            for heard in range(1, SECONDS + 1)
        ]
        first = results.mean(hits[0])
        drift = max((results.mean(hit - hits[-1]) for hit in hits[5:-1]), key=lambda change: abs(change[0]))
        verdicts += [above(*first[1:], 0.9), below(*drift[1:], STABLE), above(*drift[1:], -STABLE)]
        said.append(f"`{ensemble}` {percent(*first)} at 1 s, then at most {_points(drift)} from the end")
    return all_of(verdicts), "; ".join(said)


def audio_ahead_of_baseline(results: Results) -> tuple[str, str]:
    return _ahead_of_baseline(results, AUDIO_BEST, "dcase_baseline/audio", 0.171)


def visual_ahead_of_baseline(results: Results) -> tuple[str, str]:
    return _ahead_of_baseline(results, VISUAL_BEST, "dcase_baseline/visual", 0.262)


def audio_visual_ahead_of_baseline(results: Results) -> tuple[str, str]:
    return _ahead_of_baseline(results, ALL_MODELS, "dcase_baseline/official", 0.165)


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


def judged(results: Results) -> list[list[str]]:
    """Put every claim to the test.

    Returns
    -------
    list of list of str
        Of each claim: its text, the paper's figure, ours, and supported, contradicted, undecided or not run.
    """
    rows = []
    for claim in CLAIMS:
        try:
            verdict, figure = claim.judge(results)
        except NotRunError as missing:
            figure, verdict = f"needs {missing}", NOT_RUN
        rows.append([claim.text, claim.paper, figure, verdict])
    return rows


def _points(difference: tuple[float, float, float]) -> str:
    return percent(*difference, sign="+")


def _not(verdict: str) -> str:
    return {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED}.get(verdict, verdict)


def _gain(results: Results, change: np.ndarray) -> tuple[str, str]:
    """Whether the one of two frameworks is ahead, from the difference of their hits, and by how much."""
    gain = results.mean(change)
    if np.count_nonzero(np.nan_to_num(change)) < FEWEST:
        return UNDECIDED, f"{_points(gain)}, {TOO_FEW}"
    return above(*gain[1:]), _points(gain)


def _ahead(results: Results, first: str, second: str) -> tuple[str, str]:
    verdict, said = _gain(results, results.of(first) - results.of(second))
    return verdict, f"{said} ({name(first)} and {name(second)})"


def _ahead_of_baseline(results: Results, framework: str, baseline: str, paper: float) -> tuple[str, str]:
    seconds = results.seconds_right(results.seconds_of(baseline))
    gain = results.mean(results.of(framework) - seconds)
    same = results.difference(framework, baseline)
    return above(*gain[1:], paper - ROUNDING), f"{_points(gain)}; clips against clips {_points(same)}"


def _fusions(results: Results, ensemble: str, members: list[str], helping: set[str]) -> tuple[str, str]:
    best = results.best(members)
    verdicts, said = [], []
    for rule in ("max", "mean", "prod"):
        verdict, gain = _gain(results, results.of(f"fuse/{ensemble}-{rule}") - results.of(best))
        verdicts.append(verdict if rule in helping else _not(verdict))
        said.append(f"{rule.upper()} {gain}")
    return all_of(verdicts), f"{'; '.join(said)} over {name(best)}"
