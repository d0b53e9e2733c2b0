"""What decides a result is a dependency or a parameter of its stages, and of these alone, as DVC resolves them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo

from scenes.dependencies import PLUMBING, modules

FILES = ["dvc.yaml", "params.yaml", "none", *(f"data/{name}/dvc.yaml" for name in ("demo", "robustness", "tau"))]


LOADED = """
import sys
sys.path[:0] = ["stages"]
import {script}
print(*(module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)), sep="\\n")
"""


@pytest.mark.parametrize(
    "stage", ["split", "frames", "spectrogram@mel", "fuse-all_models", "report", "robustness-frames"]
)
def test_what_the_interpreter_loads_of_the_project_is_a_dependency_or_plumbing(stage):
    with Repo(ROOT, config={"core": {"no_scm": True}}) as repo:
        (stage,) = [one for one in repo.index.stages if one.addressing.rpartition(":")[2] == stage]
        script = re.search(r"stages/(\w+)\.py", stage.cmd)[1]
        code = LOADED.format(script=script)
        loaded = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout
        files = {
            Path(line) for line in loaded.splitlines() if line.startswith(f"{ROOT}/stages/") and "__init__" not in line
        }
        named = [Path(file.fs_path) for file in stage.deps]
        listed = {path for name in named for path in (name.glob("*.py") if name.is_dir() else [name])}
    assert files - listed <= PLUMBING
    # A package stands for all its modules; what is imported where it is needed is not loaded yet.
    assert len(files & listed) > 2


def test_of_the_families_a_prediction_depends_on_its_own():
    of_images = modules("python stages/predict.py visual-image data/split.csv")
    of_sound = modules("python stages/predict.py audio-spectrogram-strict data/split.csv")
    assert {"stages/scenes/classifiers/visual_image.py", "stages/scenes/classifiers/image_networks.py"} <= set(
        of_images
    )
    assert {"stages/scenes/classifiers/strict.py", "stages/scenes/classifiers/vgg14.py"} <= set(of_sound)
    assert not [path for path in of_images if re.search("vgg14|baseline|systems|stage/", path)]
    assert not [path for path in of_sound if re.search("image|baseline|systems|stage/", path)]


@pytest.fixture
def _pipeline() -> None:
    """The pipeline without code and data, with this project's settings of DVC."""
    Repo.init(no_scm=True)
    Path(".dvc/config").write_text((ROOT / ".dvc/config").read_text().replace("[core]", "[core]\n    no_scm = true"))
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)


def with_param(params: dict, key: str, value: object) -> dict:
    *sections, name = key.split(".")
    section = params
    for part in sections:
        section = section[part]
    assert name in section
    section[name] = value
    return params


def set_params(values: dict[str, object]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    for key, value in values.items():
        with_param(params, key, value)
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def groups(names: list[str]) -> set[str]:
    return {name.partition("@")[0] for name in names}


SEEDED = {
    "seed": {"train-audio-spectrogram", "train-audio-embedding", "train-visual-embedding", "train-visual-image",
             "train-audio-visual", "train-audio-visual-scratch", "train-dcase-baseline",
             "train-audio-foundation", "train-visual-foundation"},
    "split.seed": {"split", "train-dcase-baseline", "train-audio-probe", "train-visual-probe"},
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


def changed(checkout: tuple[Path, dict], path: str, edit: Callable[[str], str]) -> set[str]:
    """The groups of stages that an edit itself puts out of date; what needs their outputs follows from the graph."""
    folder, before = checkout
    text = (folder / path).read_text()
    assert edit(text) != text
    (folder / path).write_text(edit(text))
    try:
        after = status(folder)
    finally:
        (folder / path).write_text(text)
    return {name.rpartition(":")[2].partition("@")[0] for name in after if after[name] != before.get(name)}


CHANGES = {
    "spectrogram.mel.window": (3841, {"spectrogram", "spectrogram-strict", "robustness"}),
    "split.validation": (0.26, {"split"}),
    "visual.MobileNetV2.size": (65, {"embed-visual", "train-visual-image", "predict-visual-image"}),
    "train.visual_image.epochs": (4, {"train-visual-image"}),
    "early_exit.losses": ([0.0, 2.0], {"early-exit"}),
    "demo.fps": (9, {"synthesize"}),
}


@pytest.mark.parametrize("key", CHANGES)
def test_a_param_puts_the_stages_out_of_date_that_it_concerns_and_no_other(checkout, key):
    value, stages = CHANGES[key]
    assert (
        changed(
            checkout,
            "params.yaml",
            lambda text: yaml.safe_dump(with_param(yaml.safe_load(text), key, value), sort_keys=False),
        )
        == stages
    )


def test_mixup_puts_the_trainings_out_of_date_and_nothing_else(checkout):
    assert changed(checkout, "stages/scenes/learning/mixup.py", lambda text: f"{text}\nFACTOR = 2\n") == SEEDED["seed"]


@pytest.mark.parametrize("module", ["errors", "options", "outputs", "cli", "resume"])
def test_words_of_the_command_line_put_nothing_out_of_date(checkout, module):
    path = f"stages/scenes/stage/{module}.py"
    assert changed(checkout, path, lambda text: text.replace('"""', '"""Another word. ', 1)) == set()
