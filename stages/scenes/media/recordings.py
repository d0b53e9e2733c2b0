"""Somebody's own recordings: found in a folder a class, and given names that a data set can have."""

import re
import unicodedata
from itertools import count
from pathlib import Path
from typing import NamedTuple

from scenes.media.finding import VIDEO_FILES, Found, find_media, shorten
from scenes.stage.errors import InputError

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

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.video, self.audio) if path]


def find_recordings(folder: Path, each_alone: bool) -> tuple[list[Recording], Found]:
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
        In the order of their files; names are made of letters, digits and underscores, are short, and differ in more
        than case.
    Found
        What `scenes.media.finding.find_media` found, with more that is left out: the files in no class's folder, and
        further links to a file of the same class.

    Raises
    ------
    InputError
        If there are none, two classes have one name or one file, or two films or two sound files have one name.
    """
    found = find_media(folder)
    files: dict[Path, dict[str, Path]] = {}
    scenes: dict[tuple[int, int], Path] = {}  # by the file itself, however many links lead to it
    twice = []
    for path in found.files:
        within = path.relative_to(folder)
        if len(within.parts) < 2:
            found.leave_out("outside a class folder", path)
            continue
        status = path.stat()
        first = scenes.setdefault((status.st_dev, status.st_ino), path)
        if first.relative_to(folder).parts[0] != within.parts[0]:
            raise InputError(f"{path}: same file as {first} in another class; remove one of them")
        if first != path:
            found.leave_out("duplicate links", path)
            continue
        kinds = files.setdefault(within.with_suffix(""), {})
        kind = "video" if path.suffix.lower() in VIDEO_FILES else "audio"
        if kind in kinds:
            twice.append((path, kinds[kind]))
        kinds[kind] = path
    if twice:
        (path, other), more = twice[0], f" (first of {len(twice)} such files)" if len(twice) > 1 else ""
        raise InputError(f"{path}: same name as {other.name}; rename one of them{more}")
    if not files:
        raise InputError(
            f"{folder}: no recordings in class folders; expected <class>/<recording>.mp4, .wav or another audio or "
            f"video file" + (f"; left out: {found.told()}" if found.left_out else "")
        )

    classes: dict[str, str] = {}
    taken: set[str] = set()
    recordings = []
    for within, kinds in files.items():
        scene = _safe(within.parts[0])
        if classes.setdefault(scene.casefold(), within.parts[0]) != within.parts[0]:
            raise InputError(
                f"{folder / within.parts[0]}: gives the same class name as "
                f"{classes[scene.casefold()]!r}; rename one of them"
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
    return recordings, found


def _recording(scene: str, place: list[str], take: str, kinds: dict[str, Path]) -> Recording:
    city, *location = place if len(place) > 1 else [NO_CITY, *place]
    words = (scene, city, "_".join(location) or take, take)
    return Recording(*map(shorten, words), kinds.get("video"), kinds.get("audio"))


def _safe(text: str) -> str:
    """Letters (of any script), digits and underscores; a hyphen would part a clip's name."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFC", text)).strip("_") or "_"
