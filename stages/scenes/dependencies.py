"""Dependencies of a stage on code: the modules of the project that can change what it computes."""

import ast
import re
from functools import cache
from pathlib import Path

from scenes.systems import AUDIO_SPECTROGRAM_STRICT, FAMILIES

STAGES = Path(__file__).parents[1]
SCENES = STAGES / "scenes"
# These cannot change a number: the command line, help and error texts, writing, resuming; the messages about faults in
# files; standard input, which no stage reads.
PLUMBING = {*(SCENES / "stage").glob("*.py"), SCENES / "media/faults.py", SCENES / "media/pipe.py"}
# A table of names. Whichever module and features it names for a family are dependencies of the family's stages, so
# that a new family puts nothing out of date. Scores take from it which media a member needs: there it is one.
NAMES = SCENES / "systems.py"
OF_THE_BASELINE = {SCENES / "classifiers/baseline.py", SCENES / "evaluation/baseline_scores.py"}


def modules(command: str) -> list[str]:
    """The modules that a stage's command imports, directly or through another, as paths such as `stages/scenes/a.py`.

    A package of which it imports all modules stands for them. Of the families of classifiers `predict.py FAMILY ...`
    imports the one that it names.
    """
    script, first = re.search(r"stages/(\w+\.py)(?: (\S+))?", command).groups("")
    found = _imported(STAGES / script)
    predicts = script.startswith("predict")
    families = {**FAMILIES, "audio_spectrogram_strict": AUDIO_SPECTROGRAM_STRICT}
    if predicts and (family := families.get(first.replace("-", "_"))):
        own = SCENES / f"classifiers/{family.module}.py"
        found = (found | {own} | _imported(own)) - OF_THE_BASELINE
    if predicts or script.startswith("train_"):
        found -= {NAMES}
    found -= PLUMBING
    whole = {module.parent for module in found if found.issuperset(module.parent.glob("[!_]*.py"))}
    paths = whole | {module for module in found if module.parent not in whole}
    return sorted(path.relative_to(STAGES.parent).as_posix() for path in paths)


def _imported(start: Path) -> set[Path]:
    found, unread = set(), [start]
    while unread:
        new = _imports(unread.pop()) - found
        unread += new
        found |= new
    return found


@cache
def _imports(file: Path) -> set[Path]:
    """The modules of the project that a file itself imports."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "scenes":
            module = STAGES / node.module.replace(".", "/")
            names = [module / f"{alias.name}.py" for alias in node.names] if module.is_dir() else []
            found |= set(names or [module.with_suffix(".py")])
    return found
