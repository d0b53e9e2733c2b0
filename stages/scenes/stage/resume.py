"""Going on after a kill: partial work kept in `.resume/`, keyed by everything that it depends on."""

import hashlib
import shutil
import sys
from pathlib import Path

FOLDER = Path(".resume")


def resume_folder(output: Path, inputs: list[Path]) -> Path:
    """The scratch folder of the run that makes `output`, kept until `finish` and found again by the same run only.

    Its name holds a hash of the command line, of the project's code that is loaded, and of the names, sizes and times
    of `inputs`. Folders of other runs that make the same output are stale and removed.

    Raises
    ------
    FileNotFoundError
        If an input is missing.
    """
    key = hashlib.sha256(repr(sys.argv).encode())
    code = {Path(module.__file__) for module in sys.modules.values() if getattr(module, "__file__", None)}
    for path in sorted(path for path in code if Path(__file__).parents[2] in path.parents):
        key.update(path.read_bytes())
    for path in inputs:
        stat = path.stat()
        key.update(repr((str(path), stat.st_size, stat.st_mtime_ns)).encode())
    owner = "-".join(output.relative_to(output.anchor).parts)
    folder = FOLDER / f"{owner}@{key.hexdigest()[:16]}"
    for stale in FOLDER.glob(f"{owner}@*"):
        if stale != folder:
            shutil.rmtree(stale)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def finish(folder: Path) -> None:
    """Remove the scratch folder of a run whose output is in place."""
    shutil.rmtree(folder)
