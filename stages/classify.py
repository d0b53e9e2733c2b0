"""Classify any film or recording, second by second, with what has been trained: not a stage, but what they are for."""

import mimetypes
import sys
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from scenes.members import load, members_of, read_run
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, write_json
from scenes.timeline import follow

CHECKOUT = Path(__file__).parents[1]


def main(
    files: Annotated[list[str], typer.Argument(help="films, recordings, folders of them, or - for standard input")],
    ensemble: Annotated[str, typer.Option(help="which ensemble of dvc.yaml")] = "all_models",
    member: Annotated[list[str], typer.Option(help="instead: a classifier, family/name; may be repeated")] = (),
    rule: Annotated[Literal["mean", "prod", "max"], typer.Option(help="rule of fusion")] = "prod",
    audio: Annotated[Path | None, typer.Option(help="sound of the one film, in a file of its own")] = None,
    until: Annotated[float | None, typer.Option(help="stop as soon as the label is so probable", max=1.0)] = None,
    json: Annotated[Path | None, typer.Option(help="output .json, what every member said of every second")] = None,
    csv: Annotated[Path | None, typer.Option(help="output .csv, a row a second")] = None,
    figure: Annotated[str | None, typer.Option(help="output .png, {name} standing for a file's")] = None,
    checkout: Annotated[Path, typer.Option(help="folder of params.yaml, dvc.yaml and data/models")] = CHECKOUT,
) -> None:
    paths = [path for file in files for path in _expand(file)]
    if audio and len(paths) != 1:
        raise InputError(f"--audio {audio}: belongs to one film, {len(paths)} are given")
    if figure and len(paths) > 1 and "{name}" not in figure:
        raise InputError(f"--figure {figure}: one for {len(paths)} files; put {{name}} into it")
    trained = read_run(checkout)
    names = list(member) or members_of(trained, ensemble)
    if trained.synthetic:
        print("Trained on synthetic clips (the demo): what follows says nothing of real scenes.")
    members, classes = load(trained, names), trained.classes
    print(f"{rule} of {', '.join(names)}")
    block = "█" if "█".encode(sys.stdout.encoding, "ignore") else "#"  # as the terminal can show

    results, failed = [], 0
    for path in paths:
        print(f"\n{path}" + (f" with the sound of {audio}" if audio else ""), flush=True)
        told = 0
        sketch = _sketch(trained.params["spectrogram"]["mel"]) if figure else None
        try:
            for timeline in follow(path, audio and str(audio), members, classes, rule, trained.params["frames"]["size"],
                                   until):  # fmt: skip
                for second in range(told, timeline.members.shape[1]):
                    print(timeline.line(second, block), flush=True)
                if sketch:
                    sketch.add(timeline.window, told, timeline.members.shape[1])
                told = timeline.members.shape[1]
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            failed += 1
            continue
        for member in members:
            if member.name in timeline.silent():
                print(f"{member.name} could not speak: needs {' and '.join(member.media)}")
        label, probability = classes[timeline.overall.argmax()], timeline.overall.max()
        print(f"{label} {probability:.2f}: over {told} s, of which {timeline.read} s were read")
        results.append(timeline)
        if sketch:
            sketch.draw(timeline, Path(figure.format(name=Path(path).stem)))
    if json:
        write_json(json, {"synthetic": trained.synthetic, "files": [timeline.content() for timeline in results]})
    if csv and results:
        write_csv(csv, pd.concat([timeline.table() for timeline in results]))
    if failed:
        sys.exit(1)


def _sketch(mel: dict):
    from scenes.sketch import Sketch

    return Sketch(mel)


def _expand(file: str) -> list[str]:
    """A folder's films and recordings, or the file itself."""
    if not Path(file).is_dir():
        return [file]
    kinds = ("video/", "audio/")
    found = [str(path) for path in sorted(Path(file).rglob("*"))
             if (mimetypes.guess_type(path.name)[0] or "").startswith(kinds)]  # fmt: skip
    if not found:
        raise InputError(f"{file}: holds no film or recording")
    return found


if __name__ == "__main__":
    run(main)
