"""What the members of an ensemble say of a file, second by second: as lines of text, as JSON, as a table."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scenes.app.members import DATASET_RATE, Member, judge
from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import RULES
from scenes.media.stream import Window, windows
from scenes.stage.errors import InputError, one_line

BAR = 20


class Timeline(NamedTuple):
    """What is known of a file so far."""

    file: str
    classes: list[str]
    names: list[str]  # of the members
    rule: str
    members: np.ndarray  # [members, seconds, classes], NaN where a member has nothing to go by
    read: int  # seconds of the file that were read
    window: Window  # the last one

    @property
    def seconds(self) -> np.ndarray:
        """Fused probabilities of each second, `[seconds, classes]`."""
        return RULES[self.rule](self.members)

    @property
    def overall(self) -> np.ndarray:
        """Fused probabilities of the whole, `[classes]`: each member's mean over its seconds, then the rule."""
        return RULES[self.rule](self.means())

    def means(self) -> np.ndarray:
        """Each member's mean over the seconds of which it knows (Eq. 2), `[members, classes]`."""
        known = ~np.isnan(self.members).any(axis=-1, keepdims=True)
        total = np.where(known, self.members, 0).sum(axis=1, dtype=np.float64)
        count = known.sum(axis=1)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def silent(self) -> list[str]:
        """Members that know nothing of the file."""
        return [name for name, mean in zip(self.names, self.means(), strict=True) if np.isnan(mean).any()]

    def line(self, second: int, block: str = "█") -> str:
        """Time, most probable class, its probability, a bar of blocks, the second class."""
        clock = f"{second // 3600}:{second // 60 % 60:02}:{second % 60:02}"
        row = self.seconds[second]
        if np.isnan(row).any():
            return f"{clock}  no audio or video"
        first, other = row.argsort()[::-1][:2]
        width = max(map(len, self.classes))
        bar = block * round(BAR * row[first])
        second_best = f"{self.classes[other]} {row[other]:.2f}"
        return f"{clock}  {self.classes[first]:{width}}  {row[first]:.2f}  {bar:{BAR}}  {second_best}"

    def content(self) -> dict[str, Any]:
        """All of it, for a JSON file."""

        def rows(array: np.ndarray) -> list:
            return [None if np.isnan(row).any() else [round(float(p), 7) for p in row] for row in array]

        overall = rows(self.overall[None])[0]
        return {
            "file": self.file,
            "rule": self.rule,
            "classes": self.classes,
            "label": self.classes[int(self.overall.argmax())],
            "probabilities": overall,
            "seconds": rows(self.seconds),
            "seconds_read": self.read,
            "warnings": list(self.window.warnings),
            "members": {
                name: {"probabilities": mean, "seconds": rows(member)}
                for name, mean, member in zip(self.names, rows(self.means()), self.members, strict=True)
            },
        }

    def table(self) -> pd.DataFrame:
        """One row a second."""
        table = pd.DataFrame(self.seconds, columns=self.classes)
        table.insert(0, "file", one_line(self.file))
        table.insert(1, "second", range(len(table)))
        table.insert(2, "label", ["" if np.isnan(row).any() else self.classes[row.argmax()] for row in self.seconds])
        return table


def follow(
    path: str,
    audio: str | None,
    members: list[Member],
    classes: list[str],
    rule: str,
    size: int,
    until: float | None = None,
) -> Iterator[Timeline]:
    """Read a file and yield what is known whenever more is; end early once the whole is as probable as `until`."""
    hears, sees = (any(medium in member.media for member in members) for medium in ("audio", "video"))
    name = "standard input" if path == "-" else path
    said = np.empty((len(members), 0, len(classes)), np.float32)
    every, batch = (SECONDS, SECONDS) if until is None else (1, 1)
    for window in windows(path, audio, DATASET_RATE if hears else None, size if sees else None, every):
        new = judge(members, window, DATASET_RATE, batch)[:, max(0, said.shape[1] - window.start) :]
        length = max(
            window.sound.shape[1] / DATASET_RATE if window.sound is not None else 0,
            len(window.pictures) if window.pictures is not None else 0,
        )
        for second in range(new.shape[1]) if until is not None else [new.shape[1] - 1]:
            grown = np.concatenate([said, new[:, : second + 1]], axis=1) if new.size else said
            timeline = Timeline(
                name, classes, [m.name for m in members], rule, grown, window.start + round(length), window
            )
            if grown.shape[1]:
                yield timeline
            if until is not None and grown.shape[1] and timeline.overall.max() >= until:
                return
        said = np.concatenate([said, new], axis=1) if new.size else said
    if np.isnan(said).all():
        wanted = "; ".join(f"{member.name} needs {' and '.join(member.media)}" for member in members)
        raise InputError(f"{name}: nothing to classify: {wanted}")
