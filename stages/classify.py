"""Classify any video or audio file second by second with the trained classifiers. Not a pipeline stage."""

import sys
import unicodedata
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from scenes.app.members import load, members_of, read_run, untrained, zero_shot_members
from scenes.app.timeline import follow
from scenes.evaluation.fusion import RULES
from scenes.media.finding import find_media, shorten
from scenes.stage.cli import run
from scenes.stage.errors import InputError, one_line
from scenes.stage.outputs import write_csv, write_json

CHECKOUT = Path(__file__).parents[1]
FIGURES = (".png", ".jpg", ".pdf", ".svg")


def main(
    files: Annotated[list[str], typer.Argument(help="video or audio files, folders of them, or - for standard input")],
    ensemble: Annotated[str, typer.Option(help="ensemble of dvc.yaml")] = "all_models",
    member: Annotated[list[str], typer.Option(help="classifiers instead of an ensemble: family/name, repeatable")] = (),
    zero_shot: Annotated[
        str | None,
        typer.Option(help="classes CLASS,CLASS,... of your own, told apart by their names: needs no training"),
    ] = None,
    rule: Annotated[Literal[*RULES], typer.Option(help="fusion rule")] = "prod",
    audio: Annotated[Path | None, typer.Option(help="audio file to use with the one video")] = None,
    until: Annotated[float | None, typer.Option(help="stop as soon as the label has this probability", max=1.0)] = None,
    json: Annotated[Path | None, typer.Option(help="output .json: probabilities per member and second")] = None,
    csv: Annotated[Path | None, typer.Option(help="output .csv: one row per second")] = None,
    figure: Annotated[
        str | None, typer.Option(help="output .png, .jpg, .pdf or .svg, with {name} for the name of the input file")
    ] = None,
    checkout: Annotated[Path, typer.Option(help="folder of params.yaml, dvc.yaml and data/models")] = CHECKOUT,
) -> None:
    paths = [path for file in files for path in _expand(file)]
    if audio and len(paths) != 1:
        raise InputError(f"--audio {audio}: needs exactly one input file, got {len(paths)}")
    figures = _figures(figure, paths) if figure else [None] * len(paths)
    trained = read_run(checkout)
    if zero_shot:
        classes = _own_classes(zero_shot)
        trained = trained._replace(commands={})  # the recorded run has no part in it
        known = zero_shot_members(trained)
        names = list(member) or known
        if not names:
            raise InputError("--zero-shot: params.yaml lists no model under audio_zero_shot and visual_zero_shot")
        if others := [name for name in names if name not in known]:
            raise InputError(f"--member {others[0]}: with --zero-shot it must be one of {', '.join(known)}")
    else:
        classes, names = trained.classes, list(member) or members_of(trained, ensemble)
    synthetic = trained.synthetic and not zero_shot
    if synthetic:
        print("Trained on synthetic clips (the demo): these results say nothing about real scenes.")
    members = load(trained, names, classes)
    if random := untrained(trained, names):
        print(f"{', '.join(random)}: untrained (pretrained: false in params.yaml): these results say nothing at all.")
    print(f"{rule} of {', '.join(names)}")
    block = "█" if "█".encode(sys.stdout.encoding, "ignore") else "#"  # as the terminal can show

    results, failed = [], 0
    for path, drawing in zip(paths, figures, strict=True):
        print(f"\n{one_line(path)}" + (f" with audio from {audio}" if audio else ""), flush=True)
        told = 0
        sketch = _sketch(trained.params["spectrogram"]["mel"]) if drawing else None
        try:
            for timeline in follow(path, audio and str(audio), members, classes, rule, trained.params["frames"]["size"],
                                   until):  # fmt: skip
                for second in range(told, timeline.members.shape[1]):
                    print(timeline.line(second, block), flush=True)
                if sketch:
                    sketch.add(timeline.window, told, timeline.members.shape[1])
                told = timeline.members.shape[1]
        except Exception as error:  # whatever a file does to the libraries that read it: it costs itself alone
            fault = error if isinstance(error, InputError) else f"{path}: {type(error).__name__}: {error}"
            print(f"error: {one_line(fault)}", file=sys.stderr)
            failed += 1
            continue
        for line in timeline.window.warnings:
            print(f"warning: {one_line(path)}: {one_line(line)}", file=sys.stderr)
        for member in members:
            if member.name in timeline.silent():
                print(f"{member.name} skipped: needs {' and '.join(member.media)}")
        label, probability = classes[timeline.overall.argmax()], timeline.overall.max()
        print(f"{label} {probability:.2f}: {told} s classified, {timeline.read} s read")
        results.append(timeline)
        if sketch:
            sketch.draw(timeline, drawing)
            print(f"figure: {drawing}")
    if json:
        write_json(
            json, {"synthetic": synthetic, "untrained": random, "files": [timeline.content() for timeline in results]}
        )
    if csv and results:
        write_csv(csv, pd.concat([timeline.table() for timeline in results]))
    if failed:
        sys.exit(1)


def _own_classes(text: str) -> list[str]:
    classes = [name.strip() for name in text.split(",")]
    if "" in classes or len(classes) < 2:
        raise InputError(f"--zero-shot {text}: must be two or more names, CLASS,CLASS,..., none of them empty")
    read = [name.replace("_", " ").casefold() for name in classes]
    if twice := [name for name, words in zip(classes, read, strict=True) if read.count(words) > 1]:
        raise InputError(f"--zero-shot {text}: names {twice[0]} twice")
    return classes


def _sketch(mel: dict):
    from scenes.app.timeline_figure import Sketch

    return Sketch(mel)


def _expand(file: str) -> list[str]:
    """The recordings of a folder, or the file itself."""
    if not Path(file).is_dir():
        return [file]
    found = find_media(Path(file))
    left_out = one_line(found.told())
    if not found.files:
        raise InputError(f"{file}: contains no audio or video files" + (f"; left out: {left_out}" if left_out else ""))
    if left_out:
        print(f"warning: {one_line(file)}: left out: {left_out}", file=sys.stderr)
    return [str(path) for path in found.files]


def _figures(pattern: str, paths: list[str]) -> list[Path]:
    """The figure of each file: `{name}` stands for the file's name, with a number where others have the same."""
    if set("{}") & set(pattern.replace("{name}", "")):
        raise InputError(f"--figure {pattern}: {{name}} is the only placeholder")
    if Path(pattern).suffix.lower() not in FIGURES:
        raise InputError(f"--figure {pattern}: must end in one of {', '.join(FIGURES)}")
    if len(paths) > 1 and "{name}" not in pattern:
        raise InputError(f"--figure {pattern}: one figure for {len(paths)} files; add {{name}} to it")
    names: dict[str, str] = {}  # by what it is on a disk that keeps no case
    for path in paths:
        stem = name = shorten(one_line(Path(path).stem).replace("\\", "_"), 150)
        numbers = count(2)
        while (key := unicodedata.normalize("NFC", name).casefold()) in names:
            name = f"{stem}-{next(numbers)}"
        names[key] = name
    return [Path(pattern.replace("{name}", name)) for name in names.values()]


if __name__ == "__main__":
    run(main)
