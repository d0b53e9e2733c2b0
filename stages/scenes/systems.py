"""The one table of families of classifiers: which features a family's members take, and which module makes them.

What else is asked of a family follows from its features: which media a clip must have, and which part of a recording
has to be read before the k-th second is known. A feature is a file under `data/`, without its `.npy`; `{member}` stands
for the member's name. Row i of it is clip i.

The module is one of `scenes.classifiers`. It has

- `Options`, a dataclass: the numbers of the network, options of the command line,
- `load(options, arrays)`: a function of clips and seconds, int `[n]` each, to rows as they are on disk, `[n, ...]`,
- `front(options, arrays)`: the preprocessing, a Keras model from such rows to the network's inputs `[n, ...]`,
- `network(options, arrays, classes)`: the untrained network, from inputs to probabilities `[n, classes]`.

It is imported where it is needed, so that a stage depends on its own family's alone. Families that train nothing have
no module.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from scenes.dataset.tables import SECONDS
from scenes.stage.errors import InputError

# What features are made of: columns of split.csv.
MEDIA = {
    "spectrogram": ("audio",),
    "audio_embedding": ("audio",),
    "frames": ("video",),
    "visual_embedding": ("video",),
    "audio_visual_embedding": ("audio", "video"),
}
WITH_UNIT = ("audio_embedding", "audio_visual_embedding")  # one a second, or each of the whole clip
STRICT = ".strict"  # ends the names of members under DCASE's one-second protocol


@dataclass(frozen=True)
class Family:
    """A family of classifiers.

    Attributes
    ----------
    module : str
        Of `scenes.classifiers`; empty where there is nothing to train: predictions of other systems, zero-shot models.
    features : tuple of str
        Files under `data/` that the network's inputs are made of; none for predictions of other systems.
    section : str
        The section of params.yaml that has an entry for each member.
    params : tuple of str
        Sections that hold numbers of the network, beside the member's own.
    epochs : bool
        Whether its training has epochs, of which there is a history.
    """

    module: str
    features: tuple[str, ...]
    section: str
    params: tuple[str, ...] = ()
    epochs: bool = True

    @property
    def implementation(self) -> ModuleType:
        """Its module."""
        return import_module(f"scenes.classifiers.{self.module}")

    @property
    def media(self) -> list[str]:
        """Columns of split.csv that a clip must have: `audio`, `video` or both."""
        return list(dict.fromkeys(medium for feature in self.features for medium in MEDIA[feature.partition("/")[0]]))

    @property
    def disturbed(self) -> bool:
        """Whether its members are predicted again on disturbed clips: those on a spectrogram, or frames, alone."""
        return self.features in (("spectrogram/{member}",), ("frames",))

    def features_of(self, member: str) -> list[str]:
        """The features of a member."""
        return [feature.format(member=member) for feature in self.features]

    def options(self, params: dict[str, Any], member: str) -> Any:
        """The numbers of a member's network, from a whole params.yaml."""
        known = {"network": member, **params[self.section][member]}
        for section in self.params:
            known |= params[section]
        made = self.implementation.Options
        return made(**{field.name: known[field.name] for field in fields(made)})


FAMILIES = {
    "audio_spectrogram": Family("audio_spectrogram", ("spectrogram/{member}",), "spectrogram", ("vgg14",)),
    "audio_embedding": Family("embedding", ("audio_embedding/{member}",), "audio", ("mlp",)),
    "visual_image": Family("visual_image", ("frames",), "visual"),
    "visual_embedding": Family("embedding", ("visual_embedding/{member}",), "visual", ("mlp",)),
    "audio_foundation": Family("embedding", ("audio_embedding/{member}",), "audio_foundation", ("mlp",)),
    "visual_foundation": Family("embedding", ("visual_embedding/{member}",), "visual_foundation", ("mlp",)),
    "audio_module": Family("embedding", ("audio_embedding/{member}",), "audio_module", ("mlp",)),
    "visual_module": Family("embedding", ("visual_embedding/{member}",), "visual_module", ("mlp",)),
    "audio_visual_foundation": Family(
        "embedding", ("audio_visual_embedding/{member}",), "audio_visual_foundation", ("mlp",)
    ),
    "audio_probe": Family("probe", ("audio_embedding/{member}",), "audio_probe", epochs=False),
    "visual_probe": Family("probe", ("visual_embedding/{member}",), "visual_probe", epochs=False),
    # Their embeddings, in the space of text, are made on the way and not kept.
    "audio_zero_shot": Family("", ("audio_embedding/{member}",), "audio_zero_shot", epochs=False),
    "visual_zero_shot": Family("", ("visual_embedding/{member}",), "visual_zero_shot", epochs=False),
    "external": Family("", (), "external", epochs=False),
    "audio_visual": Family(
        "audio_visual", ("spectrogram/mel", "frames"), "audio_visual", ("vgg14", "audio_visual_mlp")
    ),
}
ZERO_SHOT = ("audio_zero_shot", "visual_zero_shot")
# Under DCASE's one-second protocol; its features are of the clips not in train alone.
AUDIO_SPECTROGRAM_STRICT = Family("strict", ("spectrogram/{member}.strict",), "spectrogram", ("vgg14",))


def family_of(classifier: str) -> Family:
    """The family of a classifier, `family/member`.

    Raises
    ------
    InputError
        If there is no such family.
    """
    name = classifier.partition("/")[0]
    if name not in FAMILIES:
        raise InputError(f"{classifier}: {name} is not a family; the families are {', '.join(FAMILIES)}")
    return FAMILIES[name]


def embedding_sections(folder: str) -> list[str]:
    """The sections of params.yaml whose networks make the files of a folder under `data/`, such as `audio_embedding`.

    Of other folders than those of embeddings there are none.
    """
    features = (f"{folder}/{{member}}",)
    return [known.section for known in FAMILIES.values() if known.module == "embedding" and known.features == features]


def section_of(params: dict[str, Any], classifier: str) -> str:
    """The section of a whole params.yaml that has the network of a classifier, `family/member`.

    It is the family's own, except for a probe or a zero-shot classifier, which takes the network of another.
    """
    family, member = family_of(classifier), classifier.partition("/")[2]
    folders = [feature.partition("/")[0] for feature in family.features]
    sections = [section for folder in folders for section in embedding_sections(folder)]
    return next((section for section in sections if member in params[section]), family.section)


def media_of(classifier: str) -> list[str]:
    """Columns of split.csv that a clip must have for a classifier, `family/member`."""
    return family_of(classifier).media


def needs_of(classifier: str, unit: str, of_patches: Callable[[str], np.ndarray]) -> np.ndarray:
    """Seconds of the recording that have to be read before a classifier's k-th second is known, `[10]`, ten at most.

    What another system has read is not known; it counts as the whole clip.

    Parameters
    ----------
    classifier : str
        `family/member`.
    unit : str
        Of embeddings of sound: `second`; any other needs the whole clip.
    of_patches : callable
        From a kind of spectrogram to the seconds that its patches need, `[10]`, as by `patch_needs`.
    """
    whole = np.full(SECONDS, float(SECONDS))
    ends = np.arange(1.0, SECONDS + 1)  # a frame, or a second of audio, is known when that second is over
    of_unit = ends if unit == "second" else whole
    of_folder = {"spectrogram": of_patches, **dict.fromkeys(WITH_UNIT, lambda _: of_unit)}
    features = [feature.split("/") for feature in family_of(classifier).features_of(classifier.split("/")[1])]
    known = [of_folder[folder](*name) if folder in of_folder else ends for folder, *name in features]
    return np.minimum(np.max(known or [whole], axis=0), SECONDS)
