"""The scratch folder of a rehearsal: the pipeline, a handful of clips, and params.yaml for one optimiser step."""

import math
import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import yaml

from scenes.dataset.tables import SECONDS, SETUP_COLUMNS, hold_out, parse_classes, read_setup
from scenes.demo.video import SCENES
from scenes.stage.errors import InputError
from scenes.stage.outputs import writing
from scenes.systems import family_of

FILES = ("dvc.yaml", "data/demo/dvc.yaml", "data/robustness/dvc.yaml", "data/tau/dvc.yaml", "metrics/seeds.csv")
LINKS = ("stages", "checksums", "none")
RECORD, CLIPS, UNTRAINED = Path("measured.json"), Path("data/clips"), Path("data/untrained")
# Of the synthetic clips: two train locations a class, since the DCASE baseline holds one out where it can; pictures as
# large and as many as those of TAU Urban Audio-Visual Scenes 2021.
SYNTHETIC = {"train": 2, "locations": 2, "evaluate": 1, "width": 1280, "height": 720, "fps": 30}
# Sections of params.yaml whose networks have weights: files of ours, folders of the hub.
PRETRAINED = ("audio", "visual", "audio_visual", "openl3")
FOUNDATION = ("audio_foundation", "visual_foundation", "audio_visual_foundation")
MODULES = ("audio_module", "visual_module")  # those whose networks are the user's own code


def lay_out(project: Path, folder: Path, params: Path) -> dict[str, Any]:
    """Make the scratch folder, a DVC repository of its own without Git, or bring an earlier one up to date.

    Returns
    -------
    dict
        The parameters, which are those of the folder's params.yaml now.

    Raises
    ------
    InputError
        If the file of parameters does not make a pipeline.
    """
    text = params.read_text(encoding="utf-8")
    if folder.exists() and any(folder.iterdir()) and not (folder / "stages").is_symlink():
        raise InputError(f"{folder}: holds something else than a rehearsal; name another folder")
    for file in FILES:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / file, folder / file)
    for name in LINKS:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(project / name)
    config = ConfigParser()
    config.read(project / ".dvc/config", encoding="utf-8")
    config.read_dict({"core": {"no_scm": "true"}})
    (folder / ".dvc").mkdir(exist_ok=True)
    with (folder / ".dvc/config").open("w", encoding="utf-8") as file:
        config.write(file)
    try:
        write_params(folder, text)
    except InputError as error:
        raise InputError(str(error).replace("params.yaml", str(params), 1)) from error
    return yaml.safe_load(text)


def forget(folder: Path) -> None:
    """Put all stages out of date."""
    for lock in folder.glob("**/dvc.lock"):
        lock.unlink()
    shutil.rmtree(folder / ".dvc/cache/runs", ignore_errors=True)


def write_params(folder: Path, text: str) -> None:
    """Write params.yaml and the parts of dvc.yaml that follow from it."""
    with writing(folder / "params.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")
    _run_stage(folder, "pipeline.py")


def listed_clips(dataset: dict[str, Any], project: Path) -> pd.DataFrame | None:
    """The clips of the data set's setup files, as by `read_setup`, with the files' whole paths; None without files."""
    setup = project / dataset["setup"]
    if not setup.is_dir():
        return None
    clips = read_setup(setup, parse_classes(dataset["classes"]))
    for column in ("audio", "video"):
        clips[column] = clips[column].map(lambda name, folder=dataset[column]: str(project.absolute() / folder / name))
    return clips


def at_hand(clips: pd.DataFrame) -> pd.DataFrame:
    """Those of whose two files both are there; none at all if a fold has none."""
    there = clips[clips[["audio", "video"]].map(os.path.isfile).all(axis=1)]
    return there if there["fold"].nunique() == 2 else there[:0]


def handful(clips: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
    """As many train clips as a batch has samples, of different locations first, and an evaluate clip of each class.

    All classes and at least two locations of one are among the train clips: the DCASE baseline holds a location out.
    """
    turns = clips.groupby(["fold", "scene", "city", "location"]).cumcount()  # the locations of a class take turns
    clips = clips.iloc[turns.argsort(kind="stable")]
    clips = clips.assign(turn=clips.groupby(["fold", "scene"]).cumcount()).sort_values("turn", kind="stable")
    train, evaluate = (clips[clips["fold"] == fold] for fold in ("train", "evaluate"))
    seconds = max(section["batch"] for section in params["train"].values())
    most = 1 + max(train["scene"].nunique(), math.ceil(seconds / SECONDS))
    if validation := params["split"]["validation"]:  # which holds out a location of each class at least
        most += max(train["scene"].nunique(), math.ceil(validation * most))
    return pd.concat([train.head(most), evaluate[evaluate["turn"] == 0]]).drop(columns="turn")


def synthesize(folder: Path) -> pd.DataFrame:
    """Make synthetic clips in place of the data set's, the same as `listed_clips`."""
    made = Path("data/synthetic")
    if not (folder / made).exists():
        _run_stage(folder, "synthesize.py", str(made), *(f"--{name}={value}" for name, value in SYNTHETIC.items()))
    folders = {"setup": made / "evaluation_setup", "audio": made / "audio", "video": made / "video"}
    return listed_clips({**folders, "classes": [f"{scene}:synthetic" for scene in SCENES]}, folder)


def link_clips(clips: pd.DataFrame, folder: Path) -> None:
    """Put clips into the scratch folder in the layout of the data set, their files as links."""
    place = folder / CLIPS
    shutil.rmtree(place, ignore_errors=True)
    for name in ("audio", "video", "evaluation_setup"):
        (place / name).mkdir(parents=True)
    for column in ("audio", "video"):
        for path in map(Path, clips[column]):
            (place / column / path.name).symlink_to(path)
    for fold, rows in clips.groupby("fold"):
        table = rows[["audio", "video", "scene"]].set_axis(SETUP_COLUMNS, axis=1)
        table.to_csv(place / f"evaluation_setup/fold1_{fold}.csv", sep="\t", index=False)


def one_step(
    params: dict[str, Any], clips: pd.DataFrame, trained: set[tuple[str, str]], gpu: bool, project: Path
) -> str:
    """Parameters, as YAML, of the same stages at the same sizes, but with one step a training, on a handful of clips.

    Parameters
    ----------
    params : dict
        Of the set-up that is rehearsed.
    clips : DataFrame
        The handful.
    trained : set of (str, str)
        Section and network of the published weights that are on this machine. Networks without weights are untrained.
    gpu : bool
        Whether networks run on a GPU. A processor uses all its cores, and float32: many only emulate bfloat16.
    project : Path
        What relative paths of weights are relative to.
    """
    changed = {"epochs": 1} if gpu else {"epochs": 1, "precision": "float32"}
    reduced = _replaced(params, changed)
    train = (hold_out(clips, params["split"]["validation"], params["split"]["seed"])["fold"] == "train").sum()
    for name, section in reduced["train"].items():
        if "seconds" not in section:  # the DCASE baseline, which takes many steps anyway
            continue
        section["seconds"] = min(SECONDS, math.ceil(section["batch"] / train))
        networks = {"visual_image": "visual", "audio_visual": "audio_visual"}.get(name)
        pieces = [each["micro_batch"] for each in (reduced[networks].values() if networks else [section])]
        if max(pieces) >= 2 * len(section["mixup"]) * (section["batch"] // 2):
            # A step in one piece: the second tells the time, since the first includes the tracing of the network.
            for each in (
                [reduced["audio_visual_joint"], reduced["audio_visual_scratch"]]
                if name == "audio_visual"
                else [section]
            ):
                each["epochs"] = 2
    for name in PRETRAINED:
        for network, section in reduced[name].items():
            file = project.absolute() / section["weights"]
            own = section["weights"] != "none" and file.is_file()
            section["pretrained"] = section["pretrained"] and (own or (name, network) in trained)
            section["weights"] = str(file) if own and section["pretrained"] else "none"
    for name in FOUNDATION:
        for network, section in reduced[name].items():
            if section["weights"] != "none" and (project / section["weights"]).is_dir():
                section["weights"] = str(project.absolute() / section["weights"])
            elif (name, network) not in trained and (UNTRAINED / network).is_dir():
                section |= {"weights": str(UNTRAINED / network), "pretrained": False}
    for entry in (entry for name in MODULES for entry in reduced[name].values() if entry["weights"] != "none"):
        entry["weights"] = str(project.absolute() / entry["weights"])
    reduced["robustness"]["seconds"] = 1
    reduced["external"] = {}  # predictions of other clips than the handful
    kept = {name: [member for member in members if family_of(member).features]
            for name, members in reduced["ensembles"].items()}  # fmt: skip
    reduced["ensembles"] = {name: members for name, members in kept.items() if members}
    scenes = set(clips["scene"])
    if not scenes <= {entry.partition(":")[0] for entry in params["dataset"]["classes"]}:  # synthetic clips of others
        reduced["dataset"]["classes"] = [f"{scene}:synthetic" for scene in sorted(scenes)]
    reduced["dataset"] |= {"audio": f"{CLIPS}/audio", "video": f"{CLIPS}/video", "setup": f"{CLIPS}/evaluation_setup"}
    if not gpu:
        reduced["threads"] = joblib.cpu_count()
    return yaml.safe_dump(reduced, sort_keys=False)


def _replaced(tree: Any, values: dict[str, Any]) -> Any:
    """A copy of nested dicts with these values wherever their keys are."""
    if not isinstance(tree, dict):
        return tree
    return {key: values.get(key, _replaced(value, values)) for key, value in tree.items()}


def _run_stage(folder: Path, script: str, *arguments: str) -> None:
    """Run a script in the scratch folder, its errors as ours."""
    done = subprocess.run(
        [sys.executable, f"stages/{script}", *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise InputError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
