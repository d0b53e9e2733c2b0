"""dvc.yaml keeps its promises: dependencies, members, parameters; and the pipeline runs from end to end."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, noise, run, write_setup, write_wav
from dvc.repo import Repo
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.core import TyperCommand

from scenes.classifiers.baseline import MODALITIES
from scenes.evaluation.fusion import LEARNED, RULES
from scenes.evaluation.predictions import with_families

STAGES = {
    name: {**stage.pop("do", {}), **stage}
    for file in ("dvc.yaml", "data/demo/dvc.yaml", "data/robustness/dvc.yaml", "data/tau/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
ENSEMBLES = PARAMS["ensembles"]


@pytest.mark.parametrize("name", STAGES)
def test_every_file_of_a_stage_is_in_its_command(name):
    stage = STAGES[name]
    files = [path for kind in ("outs", "metrics", "plots") for path in stage.get(kind, [])]
    # A stage that writes many files of a kind names them once: metrics/{figure}.svg.
    kinds = "|".join(re.escape(word) for word in stage["cmd"].split() if "{figure}" in word or "{table}" in word)
    pattern = re.sub(r"\\{(figure|table)\\}", r"\\w+", kinds)
    for path in (next(iter(file)) if isinstance(file, dict) else file for file in files):
        assert re.sub(rf"-({'|'.join((*RULES, *LEARNED))})\.", "-{rule}.", path) in stage["cmd"] or re.fullmatch(
            pattern, path
        ), path


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_an_ensemble_depends_on_its_members(ensemble):
    stage = STAGES[f"fuse-{ensemble}"]
    named = [word for word in stage["cmd"].split() if word.endswith(".npy") and "{rule}" not in word]
    assert named == [f"data/predictions/{member}.npy" for member in ENSEMBLES[ensemble]]
    assert named == [path for path in stage["deps"] if path.endswith(".npy")]


def outputs(stage: dict) -> set[str]:
    """A stage's cached outputs, those of all members of a group."""
    group = stage.get("foreach", {"": None})
    group = PARAMS[group[2:-1]] if isinstance(group, str) else group
    return {re.sub(r"\$\{(key|item)\}", key, path) for path in stage.get("outs", []) if isinstance(path, str)
            for key in group}  # fmt: skip


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_a_system_of_the_baseline_depends_on_what_it_is_made_of(kind):
    for system, member in STAGES[f"{kind}-dcase-baseline"]["foreach"].items():
        wanted = {f"data/openl3/{modality}.npy" for modality in MODALITIES[system]}
        if (kind, system) == ("train", "official"):
            wanted |= {f"data/models/dcase_baseline/{modality}.weights.h5" for modality in MODALITIES[system]}
        assert set(member["of"]) == wanted
    slots = [path for path in STAGES[f"{kind}-dcase-baseline"]["deps"] if path.startswith("${item.of")]
    assert slots == [f"${{item.of[{number}]}}" for number in range(len(member["of"]))]


def test_the_report_covers_every_classifier_and_ensemble():
    made = {path for stage in STAGES.values() for path in outputs(stage)}
    wanted = {path for path in made if path.startswith(("data/predictions/", "data/history/"))}
    report = STAGES["report"]
    assert {path for path in report["deps"] if path.startswith(("data/predictions/", "data/history/"))} == wanted
    predictions = {path.removeprefix("data/predictions/") for path in wanted if path.endswith(".npy")}
    families = {path.partition("/")[0] for path in predictions} - {"fuse"}
    words = [word for word in report["cmd"].split() if word.partition("/")[0] in families]
    named = [name for word in words for name in with_families(word.split(","))]
    assert {f"{name}.npy" for name in named} == {path for path in predictions if not path.startswith("fuse/")}
    members = dict(re.findall(r" (\w+)=(\w+/\S+)", report["cmd"]))
    assert {ensemble: with_families(names.split(",")) for ensemble, names in members.items()} == ENSEMBLES
    # Classifiers that may start untrained are labelled so: all but those of networks without weights of others.
    started = re.findall(r"--pretrained=(\S+?)=\$", report["cmd"])
    labelled = {name for names in started for name in with_families(names.split(","))}
    assert labelled == {name for name in named if not name.startswith("audio_spectrogram/")}


@pytest.mark.parametrize("name", ["params.yaml", "params.paper.yaml"])
def test_the_network_of_both_modalities_has_the_numbers_of_the_one_that_it_starts_from(name):
    params = yaml.safe_load((ROOT / name).read_text())
    for network, numbers in params["audio_visual"].items():
        assert {**numbers, "micro_batch": 0} == {**params["visual"][network], "micro_batch": 0}


def test_the_network_of_both_modalities_has_a_counterpart_at_equal_epochs():
    """What starts from two trainings has had theirs too: one from scratch has the epochs of either, and no more."""
    for path in ("params.yaml", "params.paper.yaml"):
        params = yaml.safe_load((ROOT / path).read_text())
        scratch, training = params["audio_visual_scratch"], params["train"]
        assert scratch["start"] == "scratch"
        assert scratch["epochs"] == training["audio_spectrogram"]["epochs"] == training["visual_image"]["epochs"]


def test_early_detection_has_the_curves_of_figure_4_with_the_ensembles_members():
    stage = STAGES["early-detect"]
    curves = dict(word.split("=") for word in stage["cmd"].split() if "=" in word)
    files = [source for source in curves.values() if source.endswith(".npy")]
    assert files == [path for path in stage["deps"] if path.endswith(".npy")]
    assert set(curves) == {
        "cqt", "gam", "mel", "NASNetLarge", "DenseNet121", "InceptionV3",
        "audio_spectrograms", "visual_top3", "mel_inception", "all_models",
    }  # fmt: skip
    for ensemble in ENSEMBLES.keys() & curves:
        members = [curves[name] for name in curves[ensemble].split(",")]
        assert sorted(members) == sorted(f"data/predictions/{member}.npy" for member in ENSEMBLES[ensemble])


def test_every_classifier_has_a_temperature_and_every_ensemble_an_early_exit():
    pattern = r"data/predictions/(audio|visual)_.*(?<!strict)(?<!scratch).npy"
    classifiers = [path for path in STAGES["report"]["deps"] if re.fullmatch(pattern, path)]
    # The 22 of the paper, the joint network, five foundation models, seven probes, three zero-shot.
    assert len(classifiers) == 38
    members = [path for path in classifiers if not re.search("_(probe|zero_shot)/", path)]
    for name, read in (("calibrate", classifiers), ("early-exit", members)):
        assert [path for path in STAGES[name]["deps"] if path.endswith(".npy")] == read
    assert [word for word in STAGES["calibrate"]["cmd"].split() if word.endswith(".npy")] == classifiers
    ensembles, reported = (re.findall(r" \w+=\w+/\S+", STAGES[name]["cmd"]) for name in ("early-exit", "report"))
    assert ensembles == reported


def test_uncached_outputs_are_metrics_of_cheap_stages_only():
    cheap = {
        "split",
        "calibrate",
        "early-detect",
        "early-exit",
        "score-robustness",
        "report",
        *(name for name in STAGES if re.match("predict-(?!robustness)|fuse-", name)),
    }
    for name, stage in STAGES.items():
        # The download is not cached: 107 GB twice.
        cached = all(isinstance(path, str) for path in stage.get("outs", []))
        assert cached or name in ("report", "score-robustness", "download"), name
        assert ("metrics" in stage or "plots" in stage) == (name in cheap), name


def keys(params: dict, prefix: str = "") -> set[str]:
    nested = {key: value for key, value in params.items() if isinstance(value, dict)}
    return {prefix + key for key in params} | {
        k for key, value in nested.items() for k in keys(value, f"{prefix}{key}.")
    }


def test_the_papers_params_have_the_demos_keys():
    demo, paper = (yaml.safe_load((ROOT / name).read_text()) for name in ("params.yaml", "params.paper.yaml"))
    assert keys(demo) == keys(paper)
    assert demo["dataset"]["classes"] == paper["dataset"]["classes"]
    # One dvc.yaml serves both.
    assert demo["ensembles"] == paper["ensembles"]
    assert demo["robustness"]["ensembles"] == paper["robustness"]["ensembles"]


def test_keras_is_imported_where_its_backend_is_set_up():
    for path in (ROOT / "stages").rglob("*.py"):
        assert path.name == "backend.py" or not re.search(r"^(import|from) (keras|tensorflow)", path.read_text(), re.M)


def requirements(name: str) -> dict[str, set[str]]:
    """The package of each line of a requirements file and its versions, which may depend on markers."""
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith(("#", "-r ")))
    lines = re.findall(r"^([\w.-]+)(?:\[[\w-]+\])?==([\w.]+)(?: ?; .+)?$", text, re.M)
    assert len(lines) == sum(map(bool, text.splitlines())), f"{name}: a line is not pinned"
    return {canonicalize_name(name): {version for other, version in lines if other == name} for name, _ in lines}


def test_every_requirement_is_pinned_and_allowed_by_the_constraints():
    allowed = requirements("constraints.txt")
    for path in ROOT.glob("requirements*.txt"):
        for package, versions in requirements(path.name).items():
            assert versions == allowed[package], f"{path.name}: {package}; run make constraints"


def test_what_a_constrained_package_needs_is_constrained_too():
    constrained = requirements("constraints.txt").keys()
    installed = {canonicalize_name(package.name): package for package in distributions()}
    for name in constrained & installed.keys():
        wanted = [Requirement(line) for line in installed[name].requires or []]
        needs = {canonicalize_name(need.name) for need in wanted if not need.marker or need.marker.evaluate()}
        assert needs <= constrained, f"{name}: run make constraints"


def test_what_the_stages_import_is_a_requirement_of_running():
    nodes = [node for path in (ROOT / "stages").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    packages = packages_distributions()
    wanted = {canonicalize_name(name) for module in modules for name in packages.get(module.partition(".")[0], ())}
    assert "numpy" in wanted
    assert wanted <= requirements("requirements.txt").keys() | requirements("requirements-app.txt").keys() | {"jax"}


FILES = ("dvc.yaml", "data/demo/dvc.yaml", "data/robustness/dvc.yaml", "data/tau/dvc.yaml")
WITHOUT_GIT = {"core": {"no_scm": True}}


def commands(numbers: dict) -> dict[str, list[str]]:
    """The words of each stage's command, as DVC makes them of these params."""
    for file in FILES:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, file)
    Path("params.yaml").write_text(yaml.safe_dump(numbers), encoding="utf-8")
    Repo.init(no_scm=True).close()
    shutil.copy(ROOT / ".dvc/config", ".dvc/config")
    with Repo(config=WITHOUT_GIT) as repo:
        return {stage.addressing: shlex.split(stage.cmd) for stage in repo.index.stages}


def parsed(words: list[str], monkeypatch) -> subprocess.CompletedProcess:
    """What a script says of the command that DVC runs, without running it."""
    monkeypatch.setattr(TyperCommand, "invoke", lambda *arguments: None)
    monkeypatch.setenv("DVC_STAGE", "as DVC sets it")
    script, *arguments = words[words.index("python") + 1 :]
    return run(Path(script).name, *arguments)


@pytest.mark.parametrize("params", ["params.yaml", "params.paper.yaml"])
def test_every_command_is_one_that_its_script_takes(monkeypatch, params):
    """All stages as DVC renders them, also with a space in paths."""
    numbers = yaml.safe_load((ROOT / params).read_text(encoding="utf-8"))
    numbers["dataset"]["setup"] = numbers["audio"]["Cnn14"]["weights"] = "/my data/here"
    numbers["external"] = {"other": {"predictions": "/my data/here"}}
    numbers["audio_module"] = {"Mine": {"module": "mine", "weights": "/my data/mine.pt", "unit": "clip"}}
    numbers["visual_module"] = {"Mine": {"network": "mine:make", "weights": "none", "size": 224}}
    both = {"model": "facebook/pe-av-small", "layer": "pooled"}  # a family that no committed file has a member of
    numbers["audio_visual_foundation"]["PE_AV"] = {**numbers["audio_foundation"]["CLAP"], **both}
    found = commands(numbers)
    assert {name.rpartition(":")[2].partition("@")[0] for name in found} == set(STAGES)
    for name, words in found.items():
        result = parsed(words, monkeypatch)
        assert (result.returncode, result.stderr) == (0, ""), (name, result.stderr)
    assert all(
        "/my data/here" in found[name] for name in ("split", "report", "embed-audio@Cnn14", "predict-external@other")
    )


def test_an_empty_list_or_text_is_refused_and_no_default_taken_for_it(monkeypatch):
    numbers = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    numbers["vgg14"]["dropout"] = numbers["train"]["visual_image"]["mixup"] = numbers["early_exit"]["losses"] = []
    numbers["dataset"]["classes"], numbers["audio_embedding"]["layer"] = [], ""
    found = commands(numbers)
    lists = {"train-audio-spectrogram@mel": "dropout", "train-visual-image@VGG19": "mixup", "early-exit": "losses",
             "split": "classes"}  # fmt: skip
    for name, option in {**lists, "embed-audio@Cnn14": "layer"}.items():
        result = parsed(found[name], monkeypatch)
        assert result.stderr == f"error: --{option}: must not be empty; give it a value in params.yaml\n"


@pytest.mark.slow  # who changes code has not run the pipeline yet
def test_the_recorded_run_is_of_this_code_and_these_params():
    """What `dvc status` says of all but data. Where it fails: `make`, and commit what it changes."""
    stale = []
    with Repo(ROOT, config=WITHOUT_GIT) as repo:
        for stage in repo.index.stages:
            if stage.path_in_repo != "data/tau/dvc.yaml":  # which the demo does not run
                stale += [f"command of {stage.addressing}"] if stage.cmd_changed else []
                files = [file for file in (*stage.deps, *stage.outs) if not file.def_path.startswith("data/")]
                stale += [f"{path} of {stage.addressing}" for file in files for path in file.workspace_status()]
    assert not stale, stale


SMALL = {
    "demo": {"train": 3, "evaluate": 1, "locations": 3, "width": 64, "height": 64, "fps": 2},
    "spectrogram": {"mel": {"n_fft": 4096, "bins": 32}},
    "frames": {"size": 32},
    "vgg14": {"widths": [8, 8, 16, 16], "dense": 64},
    "visual": {"InceptionV3": {"size": 75}},
    "train": {
        "audio_spectrogram": {"epochs": 6, "batch": 20, "micro_batch": 20, "lr": 3e-3},
        "visual_image": {"epochs": 1, "seconds": 1},
    },
}


def update(params: dict, changes: dict) -> dict:
    return {
        key: update(value, changes.get(key, {})) if isinstance(value, dict) else changes.get(key, value)
        for key, value in params.items()
    }


def command(clone: Path, stage: str, changes: dict[str, str]) -> subprocess.CompletedProcess:
    """Run a stage by its recorded command, with some of its words changed."""
    recorded = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"][stage]["cmd"]
    script, *words = shlex.split(recorded.partition("python ")[2])
    return run(Path(script).name, *(changes.get(word, word) for word in words), folder=clone)


def accuracy(clone: Path, predictions: np.ndarray) -> float:
    """What the stage `fuse` measures on the clips that no network was trained on."""
    split = pd.read_csv(clone / "data/split.csv", dtype=str, keep_default_na=False)
    split["fold"] = split["fold"].replace("validation", "evaluate")
    split.to_csv("split.csv", index=False)
    np.save("p.npy", predictions)
    names = "{rule}.npy", "{rule}.csv", "{rule}.json"
    result = run("fuse.py", "split.csv", clone / "data/classes.csv", *names, "p.npy", "--weights", "w.csv")
    assert result.returncode == 0, result.stderr
    return json.loads(Path("mean.json").read_text())["accuracy"]


def small_clone(folder: Path, changes: dict) -> Path:
    """A clone of this checkout, with what is not committed yet and with changed parameters."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "--modified", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    for path in changed:
        if (ROOT / path).is_file():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_bytes((ROOT / path).read_bytes())
    params = clone / "params.yaml"
    params.write_text(yaml.safe_dump(update(yaml.safe_load(params.read_text()), changes), sort_keys=False))
    return clone


def repro(clone: Path, stage: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["dvc", "repro", stage]
    result = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def assert_learnt(clone: Path, predictions: np.ndarray, least: float) -> None:
    """Chance is 0.1; rows or classes that are not those of the labels fall to it."""
    shifted = [np.roll(predictions, shift, axis=axis) for shift in (3, 5, 7) for axis in (0, 2)]
    assert accuracy(clone, predictions) >= least > 2 * np.mean([accuracy(clone, wrong) for wrong in shifted])


def write_tones(folder: Path) -> None:
    """Two train clips and an evaluate clip of each class, the pitch tells it, in the layout of the real data set."""
    names = [entry.partition(":")[0] for entry in PARAMS["dataset"]["classes"]]
    clips = [[f"{name}-oslo-{10 * number + place}-1" for number, name in enumerate(names)] for place in range(3)]
    seconds = np.arange(480_000) / 48_000
    for number, clip in ((number, clip) for group in clips for number, clip in enumerate(group)):
        tone = np.sin(2 * np.pi * 200 * 1.5**number * seconds)
        write_wav(folder / f"audio/{clip}.wav", 0.1 * tone + 0.1 * noise())
    write_setup(folder / "setup", clips[0] + clips[1], clips[2])
    (folder / "video").mkdir()


def test_from_a_folder_of_recordings_to_predictions(tmp_path):
    """`dvc repro` of one classifier in a fresh clone, on recordings that are easily told apart."""
    dataset = {"audio": "media/audio", "video": "media/video", "setup": "media/setup", "missing": "skip"}
    brief = {"audio_spectrogram": {"epochs": 8, "batch": 20, "micro_batch": 20, "seconds": 3, "lr": 3e-3}}
    clone = small_clone(tmp_path, {**SMALL, "dataset": dataset, "split": {"validation": 0}, "train": brief})
    write_tones(clone / "media")
    member = "audio_spectrogram/mel"
    repro(clone, "predict-audio-spectrogram@mel")
    assert_learnt(clone, np.load(clone / f"data/predictions/{member}.npy"), 0.8)
    assert json.loads((clone / f"metrics/{member}.json").read_text())["accuracy"] >= 0.8
    assert "Data and pipelines are up to date" in repro(clone, "predict-audio-spectrogram@mel")
    assert not list((clone / ".resume").iterdir())


@pytest.mark.slow  # a demo set, two networks, and one of them again
def test_from_an_empty_folder_to_fused_predictions(tmp_path):
    """`dvc repro fuse-mel_inception` in a fresh clone, with a small demo set and networks, of which mel learns."""
    clone = small_clone(tmp_path, SMALL)
    repro(clone, "fuse-mel_inception")
    for rule in (*RULES, *LEARNED):
        metrics = json.loads((clone / f"metrics/fuse/mel_inception-{rule}.json").read_text())
        assert metrics["clips"] == 10 and 0 <= metrics["accuracy"] <= 1 and metrics["log_loss"] > 0
    models = {str(path.relative_to(clone / "data/models")) for path in (clone / "data/models").rglob("*.h5")}
    assert models == {"audio_spectrogram/mel.weights.h5", "visual_image/InceptionV3.weights.h5"}
    assert "Data and pipelines are up to date" in repro(clone, "fuse-mel_inception")
    assert not list((clone / ".resume").iterdir())

    # With another seed, by hand.
    files = {"0": "1", "data/models/audio_spectrogram/mel.weights.h5": "other.weights.h5",
             "data/predictions/audio_spectrogram/mel.npy": "other.npy"}  # fmt: skip
    for stage in ("train", "predict"):
        result = command(clone, f"{stage}-audio-spectrogram@mel", files)
        assert result.returncode == 0, result.stderr
    both = [np.load(clone / path) for path in ("data/predictions/audio_spectrogram/mel.npy", "other.npy")]
    assert not np.array_equal(*both)
    for predictions in both:
        assert_learnt(clone, predictions, 0.3)
