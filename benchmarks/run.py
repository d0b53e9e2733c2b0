"""Run all benchmarks and write their tables to benchmarks/results.md.

Each can be run alone with other numbers: PYTHONPATH=stages:tests python benchmarks/<name>.py --help
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent


def main(
    videos: Annotated[list[Path] | None, typer.Argument(help="folders of .mp4 files; default: the demo's")] = None,
):
    folders = [str(path.absolute()) for path in videos or [ROOT / "data/demo/clips/video"]]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'stages'}:{ROOT / 'tests'}"}
    with (FOLDER / "results.md").open("w") as results:
        for name in (
            "spectrogram",
            "frames",
            "embed_audio",
            "batches",
            "training",
            "step_memory",
            "evaluation",
            "memory",
        ):
            command = [sys.executable, FOLDER / f"{name}.py", *(folders if name == "frames" else [])]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for line in process.stdout:
                print(line, end="", flush=True)
                results.write(line)
            if process.wait():
                sys.exit(f"error: benchmarks/{name}.py failed")


if __name__ == "__main__":
    typer.run(main)
