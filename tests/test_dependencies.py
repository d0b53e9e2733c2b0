"""What decides a result is a dependency or a parameter of its stages, and of these alone, as DVC resolves them."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo

from scenes.systems import AUDIO_SPECTROGRAM_STRICT, FAMILIES

SCENES = ROOT / "stages/scenes"
# What cannot change a number: the command line, help and error texts, writing, resuming; words of faults in files;
# standard input, which is no file of a stage.
PLUMBING = {*(SCENES / "stage").glob("*.py"), SCENES / "media/faults.py", SCENES / "media/pipe.py"}
# A table of names. Whichever module and features it names for a family are dependencies of the family's stages, so
# that a new family puts nothing out of date. Scores take from it which media a member needs: there it is one.
NAMES = SCENES / "systems.py"
STAGES = {
    name: {**stage.pop("do", {}), **stage}
    for file in ("dvc.yaml", *(f"data/{name}/dvc.yaml" for name in ("demo", "robustness", "tau")))
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
FILES = ["dvc.yaml", "params.yaml", "none", *(f"data/{name}/dvc.yaml" for name in ("demo", "robustness", "tau"))]


def imported(*unread: Path) -> set[Path]:
    """The modules of stages/scenes that scripts and modules import, directly or through another."""
    found, unread = set(), list(unread)
    while unread:
        for node in ast.walk(ast.parse(unread.pop().read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "scenes":
                module = ROOT / "stages" / node.module.replace(".", "/")
                names = [module / f"{alias.name}.py" for alias in node.names] if module.is_dir() else []
                modules = set(names or [module.with_suffix(".py")])
                unread += modules - found
                found |= modules
    return found


def code(command: str) -> set[Path]:
    """The modules that can change what a command computes."""
    script = ROOT / re.search(r"stages/\w+\.py", command).group()
    modules = imported(script)
    predicts = re.search(r"stages/predict\w*\.py (\S+)", command)
    if predicts:
        families = {**FAMILIES, "audio_spectrogram_strict": AUDIO_SPECTROGRAM_STRICT}
        family = families.get(predicts[1].replace("-", "_"))
        own = {SCENES / f"classifiers/{family.module}.py"} if family else set()
        of_the_baseline = {SCENES / "classifiers/baseline.py", SCENES / "evaluation/baseline_scores.py"}
        modules = (modules | own | imported(*own)) - (of_the_baseline if family else set())
    if predicts or script.name.startswith("train_"):
        modules -= {NAMES}
    return modules - PLUMBING


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_script_and_the_modules_that_can_change_its_numbers(name):
    """On those alone; on a package as a whole where it imports all of it."""
    stage = STAGES[name]
    named = [ROOT / path for path in stage["deps"] if path.startswith("stages/")]
    script = ROOT / re.search(r"stages/\w+\.py", stage["cmd"]).group()
    listed = {module for path in named for module in (path.glob("[!_]*.py") if path.is_dir() else [path])}
    assert listed == {script} | code(stage["cmd"])


@pytest.fixture
def _pipeline() -> None:
    """The pipeline without code and data, with this project's settings of DVC."""
    Repo.init(no_scm=True)
    Path(".dvc/config").write_text((ROOT / ".dvc/config").read_text().replace("[core]", "[core]\n    no_scm = true"))
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)


def set_params(values: dict[str, object]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    for key, value in values.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        assert name in section
        section[name] = value
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def groups(names: list[str]) -> set[str]:
    return {name.partition("@")[0] for name in names}


SEEDED = {
    "seed": {"train-audio-spectrogram", "train-audio-embedding", "train-visual-embedding", "train-visual-image",
             "train-audio-visual", "train-audio-visual-scratch", "train-dcase-baseline"},
    "split.seed": {"split", "train-dcase-baseline"},
    "audio_embedding.seed": {"embed-audio"},
    "visual_embedding.seed": {"embed-visual"},
    "openl3_embedding.seed": {"embed-openl3"},
    "robustness.seed": {"robustness", "robustness-frames"},
    "demo.seed": {"synthesize"},
}  # fmt: skip


@pytest.mark.usefixtures("_pipeline")
def test_a_seed_is_in_the_commands_whose_result_it_changes_and_in_no_other():
    numbers = {key: 987_650 + number for number, key in enumerate(SEEDED)}
    set_params(numbers)
    commands = {stage.addressing.rpartition(":")[2]: stage.cmd for stage in Repo().index.stages}
    for key, number in numbers.items():
        having = [name for name, command in commands.items() if str(number) in command]
        assert groups(having) == SEEDED[key], key
        # All members of a group have it.
        assert len(having) == len([name for name in commands if name.partition("@")[0] in SEEDED[key]])


@pytest.mark.usefixtures("_pipeline")
def test_weights_that_are_overwritten_put_the_stages_out_of_date_that_load_them(tmp_path_factory):
    """By files in the project and outside; the word none is a file that never changes."""
    outside = str(tmp_path_factory.mktemp("weights") / "b.h5")
    loaded = {"a.h5": ["embed-visual@MobileNetV2", "train-visual-image@MobileNetV2"], outside: ["embed-audio@Cnn14"],
              "c.h5": ["train-audio-visual-scratch@MobileNetV2", "train-audio-visual@MobileNetV2"],
              "d.h5": ["embed-openl3@visual"]}  # fmt: skip
    set_params(dict(zip(["visual.MobileNetV2.weights", "audio.Cnn14.weights", "audio_visual.MobileNetV2.weights",
                         "openl3.visual.weights"], loaded, strict=True)))  # fmt: skip
    for path in loaded:
        Path(path).write_text("old")
    repo = Repo()
    of_weights = {path: [] for path in [*loaded, "none"]}
    for stage in repo.index.stages:
        for file in stage.deps:
            of_weights.get(str(file), []).append(stage.addressing)
    assert {path: sorted(names) for path, names in of_weights.items() if path != "none"} == loaded
    assert groups(of_weights["none"]) == {"embed-audio", "embed-visual", "embed-openl3", "train-visual-image"}

    stages = [*loaded["a.h5"], *loaded[outside], "embed-audio@ResNet38"]
    collected = [stage for name in stages for stage in repo.stage.collect(name)]
    for path in [Path(file.fs_path) for stage in collected for file in (*stage.deps, *stage.outs)]:
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif not path.exists():
            path.mkdir(parents=True)
    for name in stages:
        repo.commit(name, force=True)
    for path, content, changed in (("a.h5", "new", ["a.h5"]), (outside, "new", ["a.h5", outside])):
        Path(path).write_text(content)
        expected = {name: [{"changed deps": {path: "modified"}}] for path in changed for name in loaded[path]}
        assert Repo().status(stages) == expected


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> tuple[Path, dict]:
    """The project with its recorded run, but without data, and what DVC says of it."""
    folder = tmp_path_factory.mktemp("checkout")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in files.rstrip("\0").split("\0"):
        if not name.startswith((".dvc/", "tests/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    Repo.init(str(folder), no_scm=True)
    (folder / ".dvc/config").write_text(
        (ROOT / ".dvc/config").read_text().replace("[core]", "[core]\n    no_scm = true")
    )
    return folder, status(folder)


def status(folder: Path) -> dict[str, list]:
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)


def changed(checkout: tuple[Path, dict], path: str, old: str, new: str) -> set[str]:
    """The groups of stages that an edit itself puts out of date; what needs their outputs follows from the graph."""
    folder, before = checkout
    file = folder / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    try:
        after = status(folder)
    finally:
        file.write_text(text)
    return {name.rpartition(":")[2].partition("@")[0] for name in after if after[name] != before.get(name)}


CHANGES = {
    "spectrogram.mel.window": ("window: 3840", {"spectrogram", "spectrogram-strict", "robustness"}),
    "split.validation": ("validation: 0.25", {"split"}),
    "visual.MobileNetV2": ("MobileNetV2: {size: 64", {"embed-visual", "train-visual-image", "predict-visual-image"}),
    "early_exit.losses": ("losses: [0.0", {"early-exit"}),
    "demo.fps": ("fps: 8", {"synthesize"}),
    "train.visual_image.epochs": ("visual_image:\n    epochs: 3", {"train-visual-image"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_param_puts_the_stages_out_of_date_that_it_concerns_and_no_other(checkout, name):
    old, stages = CHANGES[name]
    assert changed(checkout, "params.yaml", old, re.sub(r"\d+$", lambda match: f"{match[0]}1", old)) == stages


def test_an_edit_of_mixup_puts_the_trainings_out_of_date_and_nothing_else(checkout):
    mixup = "stages/scenes/learning/mixup.py"
    number = re.search(r"\b\d+\.?\d*\b", (ROOT / mixup).read_text().partition("import")[2])[0]
    assert changed(checkout, mixup, number, f"{number}1") == SEEDED["seed"]


@pytest.mark.parametrize("module", ["errors", "options", "outputs", "cli", "resume"])
def test_words_of_the_command_line_put_nothing_out_of_date(checkout, module):
    assert changed(checkout, f"stages/scenes/stage/{module}.py", '"""', '"""Another word. ') == set()
