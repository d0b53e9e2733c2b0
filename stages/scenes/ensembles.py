"""The classifiers and the ensembles of params.yaml."""

import re
from typing import Any

from scenes.stage.errors import InputError
from scenes.systems import FAMILIES, MEDIA, ZERO_SHOT, embedding_sections, section_of

SECTIONS = {name: family.section for name, family in FAMILIES.items()}
# Of a section, the keys that its entries must have; those of other sections may be empty.
FOUNDATION = {"model", "revision", "weights", "pretrained", "layer"}
KEYS = {
    "audio": {"pretrained", "weights"},
    "visual": {"size", "pretrained", "weights"},
    "audio_visual": {"size", "pretrained", "weights"},
    "audio_foundation": {*FOUNDATION, "unit", "level"},
    "visual_foundation": FOUNDATION,
    "audio_visual_foundation": {*FOUNDATION, "unit", "level"},
    "audio_module": {"module", "weights", "unit"},
    "visual_module": {"network", "weights", "size"},
    "external": {"predictions"},
}
DISTURBED = [name for name, family in FAMILIES.items() if family.disturbed]


def classifiers(params: dict[str, Any]) -> list[str]:
    """The classifiers of params.yaml, `family/member`.

    Raises
    ------
    InputError
        If a section or an entry is not as it has to be; if a network of both modalities lacks one of the two networks
        that it is made of, a probe its network, or a zero-shot classifier its model; or if two networks would write the
        same embeddings.
    """
    for section in dict.fromkeys(SECTIONS.values()):
        _check(section, params.get(section))
    found = [f"{family}/{member}" for family, section in SECTIONS.items() for member in params[section]]
    for network in params["audio_visual"]:
        for part in ("audio_spectrogram/mel", f"visual_image/{network}"):
            if part not in found:
                raise InputError(f"audio_visual.{network} is made of {part}, which {_section(part)} lacks; add it "
                                 f"there or take {network} out of audio_visual")  # fmt: skip
    for folder in MEDIA:
        first: dict[str, str] = {}
        for section, network in ((each, name) for each in embedding_sections(folder) for name in params[each]):
            if first.setdefault(network, section) != section:
                raise InputError(f"{section}.{network}: {first[network]} has this name too, and both would write "
                                 f"data/{folder}/{network}.npy; rename one of them")  # fmt: skip
    for probe, family in FAMILIES.items():
        for network in params[family.section] if family.module == "probe" else ():
            if section_of(params, f"{probe}/{network}") == family.section:
                sections = embedding_sections(family.features[0].partition("/")[0])
                raise InputError(f"{probe}.{network} is fitted to embeddings by {network}, which none of "
                                 f"{', '.join(sections)} has; add it to one or take it out of {probe}")  # fmt: skip
    for family in ZERO_SHOT:
        foundation = f"{family.partition('_')[0]}_foundation"
        for model in params[family]:
            if model not in params[foundation]:
                raise InputError(f"{family}.{model} is a model of {foundation}, which lacks it; add it there or take "
                                 f"it out of {family}")  # fmt: skip
    return found


def ensembles(params: dict[str, Any]) -> dict[str, list[str]]:
    """The members of each ensemble of params.yaml.

    Raises
    ------
    InputError
        If an ensemble has a bad name or no members, or names one twice or one that is no classifier of params.yaml.
    """
    known, found = classifiers(params), params["ensembles"]
    if not isinstance(found, dict) or not found:
        raise InputError("ensembles is empty; add one, such as mel_gam: [audio_spectrogram/mel, audio_spectrogram/gam]")
    for ensemble, members in found.items():
        where = f"ensembles.{ensemble}"
        if not re.fullmatch(r"\w+", str(ensemble), re.ASCII):
            raise InputError(f"{where}: rename it; a name is made of letters, digits and underscores")
        if not isinstance(members, list) or not members:
            raise InputError(f"{where}: must be a list of family/member, such as [audio_spectrogram/mel]")
        for member in members:
            if _section(member) is None:
                raise InputError(f"{where} names {member}; write family/member, with one of {', '.join(FAMILIES)}")
            if member not in known:
                raise InputError(f"{where} names {member}, which {_section(member)} lacks; add it there or take it out "
                                 "of the ensemble")  # fmt: skip
            if members.count(member) > 1:
                raise InputError(f"{where} names {member} twice; name it once")
    return found


def disturbed(params: dict[str, Any]) -> dict[str, list[str]]:
    """The ensembles that are scored on disturbed clips too, and their members.

    Raises
    ------
    InputError
        If there is none, one is no ensemble of params.yaml, or a member of one is of another family than these two.
    """
    known, named = ensembles(params), params["robustness"]["ensembles"]
    if not isinstance(named, list) or not named:
        raise InputError("robustness.ensembles: must be a list of ensembles, such as [audio_spectrograms]")
    for ensemble in named:
        if ensemble not in known:
            raise InputError(f"robustness.ensembles names {ensemble}, which ensembles lacks; add it there or take it "
                             "out of robustness.ensembles")  # fmt: skip
        for member in known[ensemble]:
            if member.partition("/")[0] not in DISTURBED:
                raise InputError(f"robustness.ensembles names {ensemble}, of which {member} is of neither "
                                 f"{' nor '.join(DISTURBED)}; take {ensemble} out of it")  # fmt: skip
    return {ensemble: known[ensemble] for ensemble in dict.fromkeys(named)}


def _section(classifier: Any) -> str | None:
    return SECTIONS.get(str(classifier).partition("/")[0])


def _check(section: str, entries: Any) -> None:
    """Refuse entries that DVC could not make stages of, or whose members would be found nowhere."""
    if not isinstance(entries, dict):
        raise InputError(f"a section is missing or empty ({section}); take it from the project's own, or write {{}}")
    wanted = KEYS.get(section, set())
    for name, entry in entries.items():
        where = f"{section}.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name, re.ASCII):
            raise InputError(f"{where}: rename it; a name is made of letters, digits, underscores and hyphens")
        if wanted and not wanted <= (entry.keys() if isinstance(entry, dict) else set()):
            raise InputError(f"{where}: must have the keys {', '.join(sorted(wanted))}")
    for name, entry in entries.items() if section == "external" else ():
        file = entry["predictions"]
        if len(entry) > 1 or not isinstance(file, str) or not re.fullmatch(r'[^"$`\\]+', file):
            raise InputError(f"external.{name}: predictions, its only key, must be a path without quotes, $ and \\")
