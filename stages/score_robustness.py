"""Score the ensembles on clips whose sound or pictures are disturbed or missing, beside the clips as they are."""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from scenes.dataset.tables import labels, place, read_classes, read_split
from scenes.evaluation.disturbed_scores import CLEAN, scored, seconds_used, under_conditions
from scenes.evaluation.predictions import read_disturbed, read_predictions, rows_of, with_families
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, write_json
from scenes.systems import family_of


def main(
    split: Path,
    classes: Path,
    out: Path,
    metrics: Path,
    ensembles: Annotated[list[str], typer.Argument(help="ENSEMBLE=family/member,member,...")],
    clean: Annotated[str, typer.Option(help="predictions of the clips as they are, with {member}")],
    disturbed: Annotated[str, typer.Option(help="predictions of the disturbed clips, with {member}")],
    noise: Annotated[list[str], typer.Option(help="conditions of the sound, in their order there: kind:SNR, dB")],
    disturbance: Annotated[list[str], typer.Option(help="conditions of the frames, in their order there: kind:level")],
    seconds: Annotated[int, typer.Option(help="how many of each clip were predicted", min=1, max=10)] = 10,
) -> None:
    clips, table = read_split(split), read_classes(classes)
    evaluated = clips[clips["fold"] == "evaluate"]
    chosen = rows_of("evaluate", clips, table)
    known = evaluated["scene"].isin(table["class"]).to_numpy()

    members = {name: with_families(names.split(",")) for name, _, names in (word.partition("=") for word in ensembles)}
    sound, frames = [f"{word} dB".replace(":", " ") for word in noise], [word.replace(":", " ") for word in disturbance]
    as_they_are, changed = {}, {condition: {} for condition in (*sound, *frames)}
    for member in sorted({member for names in members.values() for member in names}):
        family = family_of(member)
        if not family.disturbed:
            raise InputError(f"{member}: its features are not disturbed; robustness is of spectrograms and of frames")
        usual, other = (Path(pattern.format(member=member)) for pattern in (clean, disturbed))
        absent = [path for path in (usual, other) if not path.exists()]
        for path in absent:
            print(f"not run: {path}", file=sys.stderr)
        if absent:
            continue
        as_they_are[member] = read_predictions(usual, clips, table)[chosen][:, seconds_used(seconds)]
        conditions = sound if family.media == ["audio"] else frames
        shape = len(conditions), len(evaluated), seconds, len(table)
        for condition, probabilities in zip(conditions, read_disturbed(other, shape), strict=True):
            changed[condition][member] = probabilities[known]

    result = scored(
        under_conditions(as_they_are, changed),
        members,
        labels(evaluated[known], table),
        place(evaluated[known]).to_numpy(),
    )
    write_csv(out, result)
    figures = result.assign(of=np.where(result["condition"] == CLEAN, CLEAN, "disturbed"))
    mean = figures.groupby(["ensemble", "of"], sort=False)["accuracy"].mean()
    write_json(metrics, {f"{ensemble}_{of}": accuracy for (ensemble, of), accuracy in mean.items()})


if __name__ == "__main__":
    run(main)
