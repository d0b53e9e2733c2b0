"""Measure the peak resident memory of the stages that read or write arrays, on as many clips as the paper has.

12,291 made-up rows: arrays are sparse files of zeros, clips are one film of ten seconds. Every stage goes over all the
rows that it would use, with the smallest networks. Needs `stages` and `tests` on the path:
PYTHONPATH=stages:tests python benchmarks/memory.py
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import typer
from conftest import write_mp4
from made_up import CLASSES
from measure import show

ROOT = Path(__file__).parents[1]
TRAIN, EVALUATE = 8646, 3645


def write_tables() -> None:
    numbers = np.arange(TRAIN + EVALUATE)
    scenes = np.array(list(CLASSES))[numbers % len(CLASSES)]
    table = pd.DataFrame({"clip": [f"{scene}-x-{n}-{n}" for n, scene in enumerate(scenes)], "scene": scenes})
    table = table.assign(city="x", location=numbers.astype(str), audio="a.mp4", video="a.mp4")
    table["fold"] = np.where(numbers < TRAIN, "train", "evaluate")
    table[["clip", "scene", "city", "location", "fold", "audio", "video"]].to_csv("split.csv", index=False)
    table[["clip", "audio", "video", "fold"]].to_csv("media.csv", index=False)
    pd.DataFrame(CLASSES.items(), columns=["class", "meta_class"]).to_csv("classes.csv", index=False)


def write_sparse(path: str, shape: tuple[int, ...], dtype: str) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(TRAIN + EVALUATE, *shape))


def peak(script: str, *arguments: str) -> tuple[float, float]:
    """Peak resident memory in GiB of a stage or the largest of its workers, and its time in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "stages" / script, *arguments], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise typer.Exit(f"{script} {' '.join(arguments)}: failed")
    return usage.ru_maxrss / 2**20, time.perf_counter() - start


def main(only: list[str] | None = None, size: int = 128) -> None:
    """Print a table of the stages, or of those whose names are given; frames are of `size` pixels."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_tables()
        write_mp4(Path("a.mp4"))
        write_sparse("mel.npy", (2, 128, 704), "float16")
        write_sparse("frames.npy", (10, size, size, 3), "uint8")
        write_sparse("embedding.npy", (10, 4096), "float32")
        write_sparse("openl3.npy", (96, 512), "float32")
        network, vgg = ["--network", "MobileNetV2", "--size", "32"], [
            *(word for width in "4444" for word in ("--widths", width)), "--dense", "8",
        ]  # fmt: skip
        widths = ["--widths", "16", "--widths", "16"]
        joined = [*network, *vgg, "--mlp-widths", "16"]
        tables, epoch = ["split.csv", "classes.csv"], ["--epochs", "1", "--mixup", "beta"]
        scores = ["p.npy", "c.csv", "m.json"]
        joint = [*tables, "mel.npy", "frames.npy"]
        stages = [
            ("spectrogram@cqt", ["spectrogram.py", "cqt", "media.csv", "c.npy"]),
            ("frames", ["frames.py", "media.csv", "f.npy", "--size", "64"]),
            ("embed-audio", ["embed_audio.py", "media.csv", "e.npy", "--network", "MobileNetV1", "--no-pretrained"]),
            ("embed-visual", ["embed_visual.py", "media.csv", "frames.npy", "e.npy", *network, "--no-pretrained"]),
            ("train-audio-spectrogram", [
                "train_spectrogram.py", *tables, "mel.npy", "s.weights.h5", "h.csv", *vgg, *epoch, "--seconds", "2",
            ]),
            ("predict-audio-spectrogram", [
                "predict.py", "audio-spectrogram", *tables, "mel.npy", "s.weights.h5", *scores, *vgg,
            ]),
            ("train-visual-image", [
                "train_image.py", *tables, "frames.npy", "i.weights.h5", "h.csv", *network, "--no-pretrained", *epoch,
                "--seconds", "2",
            ]),
            ("predict-visual-image", [
                "predict.py", "visual-image", *tables, "frames.npy", "i.weights.h5", *scores, *network,
            ]),
            ("train-visual-embedding", [
                "train_embedding.py", "visual-embedding", *tables, "embedding.npy", "m.weights.h5", "h.csv", *widths,
                *epoch,
            ]),
            ("predict-visual-embedding", [
                "predict.py", "visual-embedding", *tables, "embedding.npy", "m.weights.h5", *scores,
                *widths,
            ]),
            ("train-audio-visual", [
                "train_audio_visual.py", *joint, "s.weights.h5", "i.weights.h5", "j.weights.h5", "h.csv", *joined,
                "--start", "scratch", "--no-pretrained", *epoch, "--seconds", "2",
            ]),
            ("predict-audio-visual", [
                "predict.py", "audio-visual", *joint, "j.weights.h5", *scores, *joined,
            ]),
            ("train-dcase-baseline@audio", [
                "train_baseline.py", "audio", *tables, "openl3.npy", "none", "b.weights.h5", "h.csv", "--epochs", "1",
            ]),
            ("predict-dcase-baseline@audio", [
                "predict.py", "baseline", "audio", *tables, "openl3.npy", "b.weights.h5", "b.npy", "c.csv", "m.json",
            ]),
            ("fuse", [
                "fuse.py", *tables, "{rule}.npy", "{rule}.csv", "{rule}.json", *["p.npy"] * 7,
                "--weights", "weights.csv",
            ]),
        ]  # fmt: skip
        arrays = ("mel.npy", "frames.npy", "embedding.npy", "openl3.npy")
        sizes = {name: Path(name).stat().st_size / 2**30 for name in arrays}
        rows = []
        for stage, (script, *arguments) in stages:
            if only and stage not in only:
                continue
            gigabytes, seconds = peak(script, *arguments)
            read = sum(sizes[name] for name in arguments if name in sizes)
            rows.append([stage, f"{read:.1f}" if read else "", f"{gigabytes:.2f}", f"{seconds:.0f}"])
            print(rows[-1], file=sys.stderr, flush=True)
        print(f"{TRAIN + EVALUATE:,} clips, backend {os.environ.get('KERAS_BACKEND', 'tensorflow')}:\n")
        show(["stage", "array read, GiB", "peak resident memory, GiB", "seconds"], rows)


if __name__ == "__main__":
    typer.run(main)
