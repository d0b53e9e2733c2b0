"""Going on after a kill: partial work kept in `.resume/`, keyed by everything that it depends on."""

import hashlib
import os
import shutil
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

FOLDER = Path(".resume")
STAGES = Path(__file__).parents[2]
# What decides numbers besides code, options and inputs: these libraries and, of networks, these environment variables.
LIBRARIES = (
    "av",
    "gammatone",
    "jax",
    "jaxlib",
    "keras",
    "librosa",
    "numpy",
    "pillow",
    "scipy",
    "soundfile",
    "soxr",
    "tensorflow",
    "timm",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
)
OF_NETWORKS = ("KERAS_BACKEND", "OMP_NUM_THREADS")  # how many threads share a sum decides its last digits


def resume_folder(output: Path, inputs: list[Path]) -> Path:
    """The scratch folder of the run that makes `output`, kept until `finish` and found again by the same run only.

    Its name holds a hash of the command line, of the project's code that is loaded, of the versions of libraries, of
    the backend and the number of threads where there are networks, and of `inputs`: the content of tables (`.csv`), the
    names, sizes and times of all others. Folders of other runs that make the same output are stale and removed.

    Raises
    ------
    FileNotFoundError
        If an input is missing.
    """
    key = hashlib.sha256(repr(sys.argv).encode())
    loaded = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
    for file in sorted(file for file in loaded if file.startswith(f"{STAGES}{os.sep}")):
        key.update(Path(file).read_bytes())
    key.update(repr([_version(library) for library in LIBRARIES]).encode())
    if "torch" in sys.modules or "keras" in sys.modules:
        key.update(repr([os.environ.get(variable) for variable in OF_NETWORKS]).encode())
    for path in inputs:
        stat = path.stat()
        identity = path.read_bytes() if path.suffix == ".csv" else (stat.st_size, stat.st_mtime_ns)
        key.update(repr((str(path), identity)).encode())
    owner = "-".join(output.relative_to(output.anchor).parts)
    folder = FOLDER / f"{owner}@{key.hexdigest()[:16]}"
    for stale in FOLDER.glob(f"{owner}@*"):
        if stale != folder:
            shutil.rmtree(stale)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def finish(folder: Path) -> None:
    """Remove the scratch folder of a run whose output is in place."""
    shutil.rmtree(folder)
