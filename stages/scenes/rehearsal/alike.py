"""Stages of equal cost, of which a rehearsal runs one: their commands differ in the names of files alone."""

import shutil
from pathlib import Path

from dvc.stage import Stage


def alike(stages: list[Stage]) -> dict[str, Stage]:
    """Of each stage that is like an earlier one of the list, by its name, that one.

    MLPs are alike whatever they read, and so is VGG14 on spectrograms of one size: the outputs of one stand for those
    of the others.
    """
    first: dict[str, Stage] = {}
    found = {}
    for stage in stages:
        earlier = first.setdefault(kind(stage), stage)
        if earlier is not stage:
            found[stage.addressing] = earlier
    return found


def kind(stage: Stage) -> str:
    """The stage's command without the name of the group's member in paths."""
    member = stage.addressing.rpartition("@")[2]
    return " ".join(word.replace(member, "*") if "/" in word else word for word in stage.cmd.split())


def copy_outputs(source: Stage, target: Stage) -> int:
    """Give a stage the outputs of one like it, as running its command would; returns the exit code, 0."""
    for made, out in zip(source.outs, target.outs, strict=True):
        Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made.fs_path, out.fs_path)
    return 0
