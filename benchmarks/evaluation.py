"""Time the stages after prediction on made-up predictions as large as the paper's, and measure their memory.

3,645 evaluate and 2,000 validation clips x 10 seconds x 10 classes x 22 classifiers (and the three strict ones), 8
ensembles. Needs `stages` and `tests` on the path: PYTHONPATH=stages:tests python benchmarks/evaluation.py
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import made_up
import numpy as np
import typer

from scenes.evaluation.metrics import clip_probabilities, right
from scenes.evaluation.uncertainty import location_interval

ROOT = Path(__file__).parents[1]
CURVES = [
    *(f"{name.split('/')[1]}=predictions/{name}.npy" for name in made_up.ENSEMBLES["all_models"]),
    "audio_spectrograms=mel,gam,cqt",
    "visual_top3=DenseNet121,InceptionV3,NASNetLarge",
    "mel_inception=mel,InceptionV3",
    "all_models=mel,gam,cqt,DenseNet121,InceptionV3,NASNetLarge",
]


def timed(what: str, *command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, ROOT / "stages" / command[0], *command[1:]], check=True)
    duration = time.perf_counter() - start
    print(f"{what:32} {duration:6.1f} s")
    return duration


def main(clips: int = 5645, places: int = 195, validation: int = 69) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        labels = made_up.write_split(clips, places, validation)
        for seed, name in enumerate(made_up.CLASSIFIERS):
            classes = made_up.predicted(labels, round((0.6 + 0.01 * seed) * clips), seed)
            made_up.write(f"predictions/{name}.npy", made_up.probabilities(classes, seed, (10,)))
            made_up.write_history(f"history/{name}.csv", epochs=100)
        Path("metrics").mkdir()
        Path("metrics/seeds.csv").write_text("framework,seed,accuracy\n")

        start = time.perf_counter()
        seconds = np.load("predictions/audio_spectrogram/mel.npy")
        place = np.char.add("place", (np.arange(clips) % places).astype(str))
        location_interval(right(labels, clip_probabilities(seconds)), place)
        print(f"{'bootstrap of one classifier':32} {time.perf_counter() - start:6.2f} s")

        total = 0.0
        for ensemble, members in made_up.ENSEMBLES.items():
            total += timed(
                f"fuse {ensemble}", "fuse.py", "split.csv", "classes.csv",
                f"predictions/fuse/{ensemble}-{{rule}}.npy", f"confusion/{ensemble}-{{rule}}.csv",
                f"metrics/fuse/{ensemble}-{{rule}}.json", *(f"predictions/{member}.npy" for member in members),
                "--weights", f"weights/{ensemble}.csv",
            )  # fmt: skip
        total += timed("early-detect", "early_detect.py", "split.csv", "classes.csv", "metrics/early_detect.csv",
                       "metrics/early_detect.json", *CURVES)  # fmt: skip
        classifiers = [name for name in made_up.CLASSIFIERS if not name.startswith("dcase") and "strict" not in name]
        total += timed("calibrate", "calibrate.py", "split.csv", "classes.csv", "metrics/calibrate.csv",
                       "metrics/calibrate.json", *(f"predictions/{name}.npy" for name in classifiers))  # fmt: skip
        total += timed("early-exit", "early_exit.py", "split.csv", "classes.csv", "metrics/early_exit.csv",
                       "metrics/early_exit_chosen.csv", "metrics/early_exit_classes.csv", "metrics/early_exit.json",
                       "predictions/{classifier}.npy",
                       *(f"{name}={','.join(members)}" for name, members in made_up.ENSEMBLES.items()))  # fmt: skip
        total += timed("report", "report.py", *made_up.report_arguments(), "--setup", "made-up")
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(f"{'all together':32} {total:6.1f} s, at most {memory:.2f} GiB")


if __name__ == "__main__":
    typer.run(main)
