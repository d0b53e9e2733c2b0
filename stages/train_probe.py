"""Fit a linear probe to audio or visual embeddings, its L2 chosen on whole validation locations."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import typer
from tqdm import tqdm

from scenes.classifiers.probe import Options, fit, network
from scenes.dataset.tables import hold_out, known_labels, open_rows, read_classes, read_split
from scenes.stage.cli import run, stop_if_asked
from scenes.stage.errors import InputError
from scenes.stage.options import Seed
from scenes.stage.outputs import write_csv, writing
from scenes.systems import FAMILIES

STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


def main(
    family: Annotated[Literal["audio-probe", "visual-probe"], typer.Argument(help="whose embeddings")],
    split: Path,
    classes: Path,
    embedding: Path,
    model: Path,
    choice: Annotated[Path, typer.Argument(help="table of the strengths: strength,log_loss")],
    strengths: Annotated[list[float], typer.Option(help="of L2; the best is taken", min=1e-9, max=1e9)] = STRENGTHS,
    validation: Annotated[
        float, typer.Option(help="part of each class's train locations to choose by", min=0.01, max=0.9)
    ] = 0.2,
    seed: Seed = 0,
) -> None:
    clips, table = read_split(split), read_classes(classes)
    embeddings = open_rows(embedding, clips)
    media = FAMILIES[family.replace("-", "_")].media
    clips = clips.assign(fold=clips["fold"].where((clips[media] != "").all(axis=1)))
    if not (clips["fold"] == "train").any():
        raise InputError(f"no train clip has {' and '.join(media)}: nothing to fit {model} to")

    def seconds(folds: pd.Series, fold: str) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings `[n, D]` of all seconds of a fold's clips, and their labels `[n]`."""
        rows = np.flatnonzero(folds == fold)
        numbers = np.repeat(known_labels(clips.iloc[rows], table), embeddings.shape[1])
        return embeddings[rows].reshape(-1, embeddings.shape[-1]), numbers

    # The split's own validation clips, or else some locations that are given back when the choice is made.
    folds = (clips if (clips["fold"] == "validation").any() else hold_out(clips, validation, seed))["fold"]
    if not (folds == "validation").any():
        raise InputError(f"{split}: each class has a single train location, and none to choose the probe's L2 by")
    train, unseen = seconds(folds, "train"), seconds(folds, "validation")
    losses = {}
    for strength in tqdm(sorted(strengths), desc=model.name, unit="strength"):
        logarithms = fit(*train, len(table), strength).logarithms(unseen[0])
        losses[strength] = -logarithms[np.arange(len(unseen[1])), unseen[1]].mean()
        stop_if_asked()
    best = min(losses, key=losses.get)
    chosen = fit(*seconds(clips["fold"], "train"), len(table), best)
    probe = network(Options(), [embeddings], len(table))
    probe.set_weights([chosen.weights, chosen.biases])
    write_csv(choice, pd.DataFrame(losses.items(), columns=["strength", "log_loss"]))
    with writing(model) as temporary:
        probe.save_weights(temporary)


if __name__ == "__main__":
    run(main)
