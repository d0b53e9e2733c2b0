"""What decides a result is a dependency or a parameter of its stages, and of these alone, as DVC resolves them."""

import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo

FILES = ["dvc.yaml", "params.yaml", "none", *(f"data/{name}/dvc.yaml" for name in ("demo", "robustness", "tau"))]


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
