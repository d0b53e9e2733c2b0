"""What every classifier and ensemble says of the evaluate clips, side by side.

A framework is named as its file under data/predictions: `audio_spectrogram/mel`, `fuse/all_models-prod`. A classifier
under DCASE's one-second protocol is `audio_spectrogram/mel.strict`. The systems of the DCASE baseline, such as
`dcase_baseline/official`, stand beside the paper's and have their own scores of seconds and of clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS, labels, place, read_classes, read_split
from scenes.evaluation import baseline_scores
from scenes.evaluation.fusion import LEARNED, RULES, prod
from scenes.evaluation.metrics import clip_probabilities, right
from scenes.evaluation.predictions import read_frames, read_fused, read_predictions, rows_of, with_families
from scenes.evaluation.uncertainty import location_interval
from scenes.reporting.published import BASELINE
from scenes.stage.errors import InputError
from scenes.systems import STRICT, family_of

SCRATCH = ".scratch"  # of the joint network that does not start from trained ones


class NotRunError(Exception):
    """A figure needs a framework that was not run; the message is its name."""


@dataclass(frozen=True)
class Results:
    """Predictions on the evaluate clips.

    Attributes
    ----------
    clips : DataFrame
        The evaluate clips, rows of split.csv.
    classes : DataFrame
        As read by `scenes.dataset.tables.read_classes`.
    seconds : dict
        Of each classifier, `[clips, 10, classes]`; also of the strict ones and of the DCASE baseline.
    baseline : dict
        Of each system of the DCASE baseline, `[clips, classes]`.
    fused : dict
        Of each ensemble and rule, `[clips, classes]`.
    ensembles : dict
        The classifiers of each ensemble.
    unit : dict
        Of each classifier on audio embeddings: `second`, or another where every second hears the whole clip.
    """

    clips: pd.DataFrame
    classes: pd.DataFrame
    seconds: dict[str, np.ndarray]
    baseline: dict[str, np.ndarray]
    fused: dict[str, np.ndarray]
    ensembles: dict[str, list[str]]
    unit: dict[str, str]

    @cached_property
    def labels(self) -> np.ndarray:
        """Class number of each clip."""
        return labels(self.clips, self.classes)

    @cached_property
    def places(self) -> np.ndarray:
        """Location of each clip."""
        return place(self.clips).to_numpy()

    @cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """Of each classifier and each fusion, float64 `[clips, classes]` (Eq. 2), NaN where it has no prediction."""
        clips = {name: clip_probabilities(array) for name, array in self.seconds.items() if not name.endswith(STRICT)}
        return {**clips, **self.baseline, **{name: array.astype(np.float64) for name, array in self.fused.items()}}

    @cached_property
    def right(self) -> pd.DataFrame:
        """1 where a framework (column) is right on a clip (row), 0 where wrong, NaN where it has no prediction."""
        columns = {name: right(self.labels, array) for name, array in self.probabilities.items()}
        return pd.DataFrame(columns, index=self.clips["clip"])

    @property
    def classifiers(self) -> list[str]:
        """The paper's single classifiers that were run, without the strict ones."""
        others = [*BASELINE, *self.joint]
        return [name for name in self.seconds if not name.endswith(STRICT) and name not in others]

    @property
    def joint(self) -> list[str]:
        """The networks of both modalities that were run, each made of two of one."""
        return [name for name in self.seconds if name not in BASELINE and family_of(name).module == "audio_visual"]

    @property
    def external(self) -> list[str]:
        """The other systems whose predictions were given."""
        return [name for name in self.classifiers if not family_of(name).features]

    def of(self, name: str) -> np.ndarray:
        """The column of `right` of a framework.

        Raises
        ------
        NotRunError
            If it was not run.
        """
        if name not in self.right:
            raise NotRunError(name)
        return self.right[name].to_numpy()

    def seconds_of(self, name: str) -> np.ndarray:
        """Probabilities of a classifier's seconds, `[clips, 10, classes]`.

        Raises
        ------
        NotRunError
            If it was not run.
        """
        if name not in self.seconds:
            raise NotRunError(name)
        return self.seconds[name]

    def units(self) -> Iterator[tuple[str, str, np.ndarray, np.ndarray, np.ndarray]]:
        """Every framework under either protocol.

        Yields
        ------
        framework, protocol : str
            The protocol is `clip` or `second`.
        labels, places, probabilities : ndarray
            `[units]`, `[units]` and `[units, classes]`.
        """
        for name, clips in self.probabilities.items():
            yield name, "clip", self.labels, self.places, clips
        labels, places = np.repeat(self.labels, SECONDS), np.repeat(self.places, SECONDS)
        for name, seconds in self.seconds.items():
            yield name, "second", labels, places, seconds.reshape(len(labels), -1)

    def seconds_right(self, seconds: np.ndarray) -> np.ndarray:
        """Which part of each clip's seconds is right, `[clips]`, from their probabilities `[clips, 10, classes]`."""
        return right(self.labels[:, None], seconds).mean(axis=1)

    def accuracy(self, name: str) -> tuple[float, float, float]:
        """Accuracy and its 95 % interval over locations."""
        return self.mean(self.of(name))

    def mean(self, values: np.ndarray) -> tuple[float, float, float]:
        """Mean of `values`, `[clips]`, over the clips that are not NaN, and its 95 % interval over locations."""
        scored = values[~np.isnan(values)]
        return (scored.mean() if len(scored) else np.nan), *location_interval(values, self.places)

    def difference(self, first: str, second: str) -> tuple[float, float, float]:
        """Accuracy of `first` less that of `second` on the clips that both scored, and its paired interval."""
        return self.mean(self.of(first) - self.of(second))

    def best(self, names: list[str]) -> str:
        """The framework of highest accuracy, all of them run."""
        return max(names, key=lambda name: np.nanmean(self.of(name)))

    def hears(self, name: str) -> str:
        """What a classifier's seconds hear if it is more than a second; else empty."""
        features = {feature.partition("/")[0] for feature in family_of(name).features}
        if not features:
            return "perhaps the whole clip"
        if self.unit.get(name, "second") != "second":
            return "the whole clip"
        return "1.858 s" if "spectrogram" in features and not name.endswith(STRICT) else ""

    def members_seconds(self, ensemble: str, strict: bool = False) -> np.ndarray:
        """Probabilities of the members' seconds, `[members, clips, 10, classes]`; strict ones where they hear more.

        Raises
        ------
        NotRunError
            If the ensemble or a member was not run.
        """
        if ensemble not in self.ensembles:
            raise NotRunError(ensemble)
        members = self.ensembles[ensemble]
        if strict:
            members = [name + STRICT if self.hears(name) else name for name in members]
        return np.stack([self.seconds_of(name) for name in members])

    def early_interval(self, ensemble: str, heard: int) -> tuple[float, float]:
        """The interval of the accuracy of an ensemble's PROD fusion after so many seconds."""
        clips = [clip_probabilities(seconds[:, :heard]) for seconds in self.members_seconds(ensemble)]
        return location_interval(right(self.labels, prod(np.stack(clips))), self.places)


def read_results(
    split: Path, classes: Path, predictions: str, frameworks: list[str], fused: str, unit: dict[str, str]
) -> tuple[Results, list[Path]]:
    """Read predictions and keep those of the evaluate clips whose class is known.

    Parameters
    ----------
    split, classes : Path
        data/split.csv and data/classes.csv.
    predictions : str
        Path of a classifier's predictions, with `{classifier}`.
    frameworks : list of str
        Classifiers, `family/member,member,...`, where a family holds until the next one is named, or an ensemble,
        `ENSEMBLE=family/member,member,...`.
    fused : str
        Path of an ensemble's predictions, with `{ensemble}` and `{rule}`.
    unit : dict
        See `Results`.

    Returns
    -------
    results : Results
    missing : list of Path
        Files that do not exist or hold no prediction of an evaluate clip: these frameworks were not run.

    Raises
    ------
    InputError
        If a file holds anything else, a member of an ensemble is not named, or there is nothing to score.
    """
    clips, table = read_split(split), read_classes(classes)
    outside_train = clips[clips["fold"] != "train"]
    chosen = rows_of("evaluate", clips, table)
    if not chosen.any():
        raise InputError(f"{split}: has no evaluate clip with a class of {classes}: there is nothing to report")
    named = [name for word in frameworks if "=" not in word for name in with_families(word.split(","))]
    files = {name: Path(predictions.format(classifier=name)) for name in named}
    ensembles = {}
    for ensemble, _, members in (framework.partition("=") for framework in frameworks if "=" in framework):
        ensembles[ensemble] = with_families(members.split(","))
        unknown = set(ensembles[ensemble]) - set(files)
        if unknown:
            raise InputError(f"{ensemble}: the predictions of its member {sorted(unknown)[0]} are not named")
    fused_files = {
        f"fuse/{ensemble}-{rule}": Path(fused.format(ensemble=ensemble, rule=rule))
        for ensemble in ensembles
        for rule in (*RULES, *LEARNED)
    }
    frames = {
        name: (read_frames if name in BASELINE else read_predictions)(path, clips, table)[chosen]
        for name, path in files.items()
        if path.exists()
    }
    fusions = {name: read_fused(path, clips, table)[chosen] for name, path in fused_files.items() if path.exists()}
    frames, fusions = (
        {name: array for name, array in arrays.items() if not np.isnan(array).all()} for arrays in (frames, fusions)
    )
    seconds = {name: baseline_scores.seconds(array) if name in BASELINE else array for name, array in frames.items()}
    baseline = {name: baseline_scores.clips(array) for name, array in frames.items() if name in BASELINE}
    if not seconds and not fusions:
        raise InputError(f"{next(iter(files.values()))}: no classifier has predictions; run a predict stage first")
    missing = [path for name, path in {**files, **fused_files}.items() if name not in {**seconds, **fusions}]
    evaluated = outside_train[chosen].reset_index(drop=True)
    return Results(evaluated, table, seconds, baseline, fusions, ensembles, unit), missing
