"""Somebody's own recordings: found in a folder a class, and given names that a data set can have."""

import re
import unicodedata
from itertools import count
from pathlib import Path
from typing import NamedTuple

from scenes.audio import SOUND_FILES
from scenes.stage.errors import InputError

VIDEO_FILES = {".mp4", ".mov", ".mkv"}
NO_CITY = "none"


class Recording(NamedTuple):
    """A film, a sound file, or both of one name; its class and place, and what tells it from others of that place."""

    scene: str
    city: str
    location: str
    take: str
    video: Path | None
    audio: Path | None

    @property
    def name(self) -> str:
        return "-".join(self[:4])


def find_recordings(folder: Path, each_alone: bool) -> tuple[list[Recording], list[Path]]:
    """Find the films and sound files in a folder that has a subfolder a class.

    What lies below the class's folder tells the place: `<location>-<take>` or `<city>-<location>-<take>`, each hyphen
    a hyphen of the file's name or a further subfolder. A name without either is a place of its own. So a file that is
    named as in the data set, `<class>-<city>-<location>-<segment>`, keeps its place.

    Parameters
    ----------
    folder : Path
    each_alone : bool
        Whether every recording is a place of its own, whatever its name.

    Returns
    -------
    list of Recording
        In the order of their files; names are made of letters, digits and underscores, and differ in more than case.
    list of Path
        The files that are neither films nor sound files, or in no class's folder.

    Raises
    ------
    InputError
        If there are none, two classes have one name, or two films or two sound files.
    """
    files: dict[Path, dict[str, Path]] = {}
    ignored = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        within = path.relative_to(folder)
        if any(part.startswith(".") for part in within.parts):
            continue
        kind = "video" if path.suffix.lower() in VIDEO_FILES else "audio"
        if len(within.parts) < 2 or path.suffix.lower() not in VIDEO_FILES | SOUND_FILES:
            ignored.append(path)
            continue
        found = files.setdefault(within.with_suffix(""), {})
        if kind in found:
            raise InputError(f"{path}: has the name of {found[kind].name}; rename one of them")
        found[kind] = path
    if not files:
        endings = ", ".join(sorted(VIDEO_FILES | SOUND_FILES))
        raise InputError(f"{folder}: has no subfolder, named as its class, with recordings ({endings})")

    classes: dict[str, str] = {}
    taken: set[str] = set()
    recordings = []
    for within, kinds in files.items():
        scene = _safe(within.parts[0])
        if classes.setdefault(scene.casefold(), within.parts[0]) != within.parts[0]:
            raise InputError(
                f"{folder / within.parts[0]}: would be named as {classes[scene.casefold()]!r}; rename one of them"
            )
        words = [*within.parts[1:-1], *within.name.removeprefix(f"{within.parts[0]}-").split("-")]
        *place, take = map(_safe, words)
        if each_alone:
            place, take = [], "_".join([*place, take])
        recording = _recording(scene, place, take, kinds)
        numbers = count(2)
        while recording.name.casefold() in taken:
            recording = _recording(scene, place, f"{take}_{next(numbers)}", kinds)
        taken.add(recording.name.casefold())
        recordings.append(recording)
    return recordings, ignored


def _recording(scene: str, place: list[str], take: str, kinds: dict[str, Path]) -> Recording:
    city, *location = place if len(place) > 1 else [NO_CITY, *place]
    return Recording(scene, city, "_".join(location) or take, take, kinds.get("video"), kinds.get("audio"))


def _safe(text: str) -> str:
    """Letters (of any script), digits and underscores; a hyphen would part a clip's name."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFC", text)).strip("_") or "_"
