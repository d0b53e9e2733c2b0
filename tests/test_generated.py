"""The stages that name many classifiers are what stages/pipeline.py makes of params.yaml, whatever it names."""

import re
import shlex
import shutil
from pathlib import Path

import pipeline
import pytest
import yaml
from conftest import ROOT, run
from dvc.repo import Repo
from typer.core import TyperCommand

from scenes.ensembles import KEYS
from scenes.evaluation import fusion
from scenes.evaluation.predictions import with_families, without_families

GENERATED = pipeline.FILES


@pytest.fixture
def _pipeline() -> None:
    """The pipeline and its numbers, without code and data."""
    Repo.init(no_scm=True).close()
    for name in (*GENERATED, "params.yaml", ".dvc/config"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, name)


def params() -> dict:
    return yaml.safe_load(Path("params.yaml").read_text())


def generate(numbers: dict) -> str:
    """What the generator says of these params, which become params.yaml."""
    Path("params.yaml").write_text(yaml.safe_dump(numbers, sort_keys=False))
    result = run("pipeline.py")
    assert (result.returncode != 0) == (result.stderr != "")
    return result.stderr


def without(numbers: dict, section: str, entry: str, members: list[str]) -> dict:
    """Params without an entry of a section, and without its members in the ensembles; an empty ensemble goes too."""
    del numbers[section][entry]
    numbers.get(f"{section}_probe", {}).pop(entry, None)
    left = {name: [one for one in of if one not in members] for name, of in numbers["ensembles"].items()}
    numbers["ensembles"] = {name: of for name, of in left.items() if of}
    numbers["robustness"]["ensembles"] = [name for name in numbers["robustness"]["ensembles"] if left[name]]
    return numbers


def rendered(monkeypatch) -> dict[str, str]:
    """The commands of all stages, which their scripts take; and what they read is made by one of them."""
    with Repo(config={"core": {"no_scm": True}}) as repo:
        stages = repo.index.stages
        made = {str(file) for stage in stages for file in stage.outs} | {"metrics/seeds.csv"}
        needed = {str(file) for stage in stages for file in stage.deps}
        commands = {stage.addressing.rpartition(":")[2]: stage.cmd for stage in stages}
    media = ("data/demo/clips/", "data/tau/clips/", "data/demo/models/")
    assert {path for path in needed if path.startswith(("data/", "metrics/")) and not path.startswith(media)} <= made
    monkeypatch.setattr(TyperCommand, "invoke", lambda *arguments: None)
    for name, command in commands.items():
        words = shlex.split(command)
        script, *arguments = words[words.index("python") + 1 :]
        result = run(Path(script).name, *arguments)
        assert (result.returncode, result.stderr) == (0, ""), (name, result.stderr)
    return commands


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize("name", ["params.yaml", "params.paper.yaml"])
def test_the_committed_files_are_the_generated_ones(name):
    """One pipeline serves both. Where this fails: `make dvc.yaml`, and commit what it changes."""
    assert generate(yaml.safe_load((ROOT / name).read_text())) == ""
    for file in GENERATED:
        assert Path(file).read_text() == (ROOT / file).read_text(), file


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize(
    ("section", "entry", "families"),
    [
        ("visual", "NASNetLarge", ["visual_image", "visual_embedding"]),
        ("audio", "Cnn14", ["audio_embedding"]),
        ("spectrogram", "cqt", ["audio_spectrogram"]),
        ("audio_visual", "MobileNetV2", ["audio_visual"]),
    ],
)
def test_a_member_that_is_taken_out_leaves_the_whole_pipeline(section, entry, families, monkeypatch):
    members = [f"{family}/{entry}" for family in families]
    assert generate(without(params(), section, entry, members)) == ""
    commands = rendered(monkeypatch)
    words = {word for command in commands.values() for word in re.split(r"[ =]", command)}
    named = {name for word in words for name in with_families(word.split(","))}
    files = {f"{folder}/{member}" for folder in ("data/predictions", "data/models") for member in members}
    assert named.isdisjoint(members) and not [word for word in words if word.rpartition(".")[0] in files]
    assert "report" in commands


@pytest.mark.usefixtures("_pipeline")
def test_the_modern_set_up_has_the_papers_sections_and_makes_a_whole_pipeline(monkeypatch):
    paper, modern = (yaml.safe_load((ROOT / f"params.{name}.yaml").read_text()) for name in ("paper", "modern"))
    assert list(modern) == list(paper)
    for section in ("spectrogram", "frames", "vgg14", "mlp", "train", "robustness", "dataset"):
        assert modern[section] == paper[section]
    assert generate(modern) == ""
    commands = rendered(monkeypatch)
    assert {"fuse-everything", "calibrate"} <= set(commands)
    assert commands["embed-audio-foundation@AST"].count("--level -20") == 1


@pytest.mark.usefixtures("_pipeline")
def test_a_foundation_model_of_both_is_one_entry(monkeypatch):
    numbers = params()
    name, entry = "audio_visual_foundation/PE_AV", {"weights": "none", "pretrained": True, "unit": "clip"}
    numbers["audio_visual_foundation"]["PE_AV"] = numbers["audio_foundation"]["CLAP"] | entry
    numbers["ensembles"]["modern_all"].append(name)
    assert generate(numbers) == ""
    commands = rendered(monkeypatch)
    assert f"data/predictions/{name}.npy" in commands["fuse-modern_all"]
    assert f"data/predictions/{name}.npy" in commands["calibrate"]
    assert f"--pretrained={name}=true" in commands["report"]
    assert f"--unit={name}=clip" in commands["report"] and f"--unit={name}=clip" in commands["early-exit"]
    embedded = "data/audio_visual_embedding/PE_AV.npy"
    for stage in ("embed", "train", "predict"):
        assert embedded in commands[f"{stage}-audio-visual-foundation@PE_AV"]


@pytest.mark.usefixtures("_pipeline")
def test_a_family_may_be_empty(monkeypatch):
    """Of the audio embeddings none is left, and only spectrograms are disturbed."""
    numbers = params()
    for member in list(numbers["audio"]):
        without(numbers, "audio", member, [f"audio_embedding/{member}"])
    numbers["robustness"]["ensembles"] = ["audio_spectrograms"]
    assert generate(numbers) == ""
    assert not [name for name in rendered(monkeypatch) if "audio-embedding" in name or "robustness-frames@" in name]


@pytest.mark.usefixtures("_pipeline")
def test_a_member_an_ensemble_and_a_rule_that_are_put_in_reach_the_report(monkeypatch):
    numbers = params()
    numbers["visual"]["EfficientNetV2B0"] = {"size": 32, "pretrained": False, "weights": "none"}
    numbers["ensembles"]["mel_efficientnet"] = ["audio_spectrogram/mel", "visual_image/EfficientNetV2B0"]
    numbers["robustness"]["ensembles"].append("mel_efficientnet")
    monkeypatch.setitem(fusion.RULES, "median", fusion.mean)
    assert generate(numbers) == ""
    commands = rendered(monkeypatch)
    with Repo(config={"core": {"no_scm": True}}) as repo:
        stages = {stage.addressing.rpartition(":")[2]: stage for stage in repo.index.stages}
        deps = {name: {file.def_path for file in stage.deps} for name, stage in stages.items()}
        outs = {file.def_path for file in stages["fuse-mel_efficientnet"].outs}
    assert {f"metrics/fuse/mel_efficientnet-{rule}.json" for rule in ("mean", "median", "stacked")} <= outs
    assert {
        "data/predictions/visual_image/EfficientNetV2B0.npy", "data/predictions/visual_embedding/EfficientNetV2B0.npy",
        "data/predictions/fuse/mel_efficientnet-median.npy", "data/history/visual_image/EfficientNetV2B0.csv",
    } <= deps["report"]  # fmt: skip
    for name in ("early-exit", "report", "score-robustness"):
        assert "mel_efficientnet=audio_spectrogram/mel,visual_image/EfficientNetV2B0" in commands[name].split()
    assert "--pretrained=visual_image/EfficientNetV2B0,visual_embedding/EfficientNetV2B0=false" in commands["report"]
    assert "predict-robustness-frames@EfficientNetV2B0" in commands and "calibrate" in commands


@pytest.mark.usefixtures("_pipeline")
def test_models_of_ones_own_reach_the_report_and_may_be_probed(monkeypatch):
    numbers = params()
    numbers["audio_module"] = {"Mine": {"module": "mine", "weights": "mine.pt", "unit": "timestamps"}}
    numbers["visual_module"] = {"Net": {"network": "mypackage.networks:make", "weights": "none", "size": 64}}
    numbers["audio_probe"]["Mine"] = numbers["visual_probe"]["Net"] = {}
    numbers["ensembles"]["own"] = ["audio_module/Mine", "visual_module/Net"]
    Path("mine.pt").touch()
    assert generate(numbers) == ""
    commands = rendered(monkeypatch)
    assert commands["embed-audio-module@Mine"].endswith("--module mine --weights mine.pt --unit timestamps")
    assert "--network mypackage.networks:make" in commands["embed-visual-module@Net"]
    members = ("audio-module@Mine", "audio-probe@Mine", "visual-module@Net", "visual-probe@Net")
    assert {f"{stage}-{member}" for stage in ("train", "predict") for member in members} <= commands.keys()
    for name in ("early-exit", "report"):
        words = commands[name].split()
        assert "own=audio_module/Mine,visual_module/Net" in words
        assert {"--unit=audio_module/Mine,audio_probe/Mine=timestamps",
                "--unit=audio_foundation/CLAP,audio_probe/CLAP,audio_zero_shot/CLAP=second"} <= set(words)  # fmt: skip
    with Repo(config={"core": {"no_scm": True}}) as repo:
        deps = {stage.addressing: {file.def_path for file in stage.deps} for stage in repo.index.stages}
    assert "mine.pt" in deps["embed-audio-module@Mine"] and "none" in deps["embed-visual-module@Net"]


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize(
    ("section", "name", "first"),
    [("audio_module", "CLAP", "audio_foundation"), ("visual_module", "VGG19", "visual"),
     ("audio_foundation", "Cnn14", "audio")],
)  # fmt: skip
def test_two_networks_of_one_name_are_refused_where_they_would_write_one_file(section, name, first):
    numbers = params()
    numbers[section][name] = dict.fromkeys(KEYS[section], "none")
    folder = f"{section.partition('_')[0]}_embedding"
    assert generate(numbers) == (
        f"error: params.yaml: {section}.{name}: {first} has this name too, and both would write "
        f"data/{folder}/{name}.npy; rename one of them\n"
    )


@pytest.mark.usefixtures("_pipeline")
def test_a_member_of_an_ensemble_of_figure_4_has_its_curve(monkeypatch):
    """Also two of one name, of two families."""
    numbers = params()
    numbers["ensembles"]["all_models"] += ["visual_embedding/DenseNet121"]
    numbers["robustness"]["ensembles"].remove("all_models")
    assert generate(numbers) == ""
    words = rendered(monkeypatch)["early-detect"].split()
    assert "visual_embedding/DenseNet121=data/predictions/visual_embedding/DenseNet121.npy" in words
    assert words[-1] == "all_models=cqt,gam,mel,NASNetLarge,DenseNet121,InceptionV3,visual_embedding/DenseNet121"


@pytest.mark.usefixtures("_pipeline")
def test_the_folder_of_the_setup_files_may_have_an_apostrophe_and_a_space(monkeypatch):
    numbers = params()
    numbers["dataset"]["setup"] = "data/demo/clips/my friend's setup"
    assert generate(numbers) == ""
    commands = rendered(monkeypatch)
    for name in ("split", "report"):
        assert "data/demo/clips/my friend's setup" in shlex.split(commands[name])


@pytest.mark.usefixtures("_pipeline")
def test_stages_of_ones_own_are_left_as_they_are():
    """One without a script of the project, one with two, one whose command is a list."""
    own = """  mine:
    cmd: python tools/mine.py
    deps:
      - tools/mine.py
    outs:
      - mine

  both:
    cmd:
      - python stages/split.py and stages/fuse.py
    deps:
      - stages/fuse.py
      - stages/other.py

"""
    text = (ROOT / "dvc.yaml").read_text().replace("stages:\n", f"stages:\n{own}", 1)
    Path("dvc.yaml").write_text(text)
    assert generate(params()) == ""
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    assert stages.pop("mine") == yaml.safe_load(own)["mine"]
    assert "stages/other.py" in stages.pop("both")["deps"]
    assert stages == yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


REFUSED = [
    ({"all_models": ["visual_image/VGG16"]},
     "ensembles.all_models names visual_image/VGG16, which visual lacks; add it there or take it out of the ensemble"),
    ({"all_models": ["visual_picture/VGG19"]},
     "ensembles.all_models names visual_picture/VGG19; write family/member, with one of audio_spectrogram,"),
    ({"all_models": ["audio_spectrogram/mel", "audio_spectrogram/mel"]},
     "ensembles.all_models names audio_spectrogram/mel twice; name it once"),
    ({"all_models": []}, "ensembles.all_models: must be a list of family/member, such as [audio_spectrogram/mel]"),
    ({"all_models": "audio_spectrogram/mel"}, "ensembles.all_models: must be a list of family/member, such as"),
    ({"all-models": ["audio_spectrogram/mel"]}, "ensembles.all-models: rename it; a name is made of letters, digits"),
    ({1.5: ["audio_spectrogram/mel"]}, "ensembles.1.5: rename it; a name is made of letters, digits and underscores"),
    ({}, "ensembles is empty; add one, such as mel_gam: [audio_spectrogram/mel, audio_spectrogram/gam]"),
    ({"mine": ["audio_spectrogram/mel"]}, "robustness.ensembles names all_models, which ensembles lacks; add it there"),
    ({"all_models": ["audio_spectrogram/mel", "audio_embedding/Cnn14"]},
     "robustness.ensembles names all_models, of which audio_embedding/Cnn14 is of neither audio_spectrogram nor"),
]  # fmt: skip


@pytest.mark.usefixtures("_pipeline")
@pytest.mark.parametrize(("ensembles", "message"), REFUSED)
def test_ensembles_that_cannot_be_are_refused_in_one_line(ensembles, message):
    numbers = params() | {"ensembles": ensembles}
    numbers["robustness"]["ensembles"] = ["all_models"]
    said = generate(numbers)
    assert said.startswith(f"error: params.yaml: {message}") and said.count("\n") == 1
    assert Path("dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()


@pytest.mark.usefixtures("_pipeline")
def test_other_params_that_cannot_be_are_refused_in_one_line():
    start = Path("params.yaml").read_text()
    probed = params()
    probed["visual_probe"]["VGG16"] = {}
    assert generate(probed) == (
        "error: params.yaml: visual_probe.VGG16 is fitted to embeddings by VGG16, which none of visual, "
        "visual_foundation, visual_module has; add it to one or take it out of visual_probe\n"
    )
    named = yaml.safe_load(start)
    named["audio_zero_shot"]["Cnn14"] = {}
    assert generate(named) == (
        "error: params.yaml: audio_zero_shot.Cnn14 is a model of audio_foundation, which lacks it; add it there or "
        "take it out of audio_zero_shot\n"
    )
    Path("params.yaml").write_text(start)
    numbers = without(
        params(), "visual", "MobileNetV2", [f"visual_{kind}/MobileNetV2" for kind in ("image", "embedding")]
    )
    assert generate(numbers) == (
        "error: params.yaml: audio_visual.MobileNetV2 is made of visual_image/MobileNetV2, which visual lacks; add it "
        "there or take MobileNetV2 out of audio_visual\n"
    )
    for section, shown, more in (("spectrogram", "spectrogram", ", or write {}"), ("ensembles", "'ensembles'", "")):
        assert generate(params() | {section: None}).startswith("error: params.yaml: ")
        kept = {key: value for key, value in params().items() if key != section}
        assert generate(kept) == (
            f"error: params.yaml: a section is missing or empty ({shown}); take it from the project's own{more}\n"
        )
        shutil.copy(ROOT / "params.yaml", "params.yaml")
    for section, entry, wanted in (
        ("visual_foundation", {"CLIP": None}, "must have the keys layer, model, pretrained, revision, weights"),
        ("audio_module", {"Mine": {"module": "mine", "weights": "none"}}, "must have the keys module, unit, weights"),
        (
            "visual_foundation",
            {"ViT-B.32": {}},
            "rename it; a name is made of letters, digits, underscores and hyphens",
        ),
    ):
        changed = yaml.safe_load(start)
        changed[section] |= entry
        assert generate(changed) == f"error: params.yaml: {section}.{next(iter(entry))}: {wanted}\n"
    Path("params.yaml").write_text("ensembles: [")
    assert run("pipeline.py").stderr.startswith("error: params.yaml: is not YAML: ")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    Path("dvc.yaml").write_text("stages:\n")
    assert run("pipeline.py").stderr.startswith("error: dvc.yaml: lacks the line '# Generated from params.yaml")


def test_members_are_listed_without_the_family_of_the_member_before():
    for members, listed in (
        (["a/x"], "a/x"), (["a/x", "a/y", "b/y", "a/x"], "a/x,y,b/y,a/x"), (["ab/x", "a/x"], "ab/x,a/x"),
    ):  # fmt: skip
        assert without_families(members) == listed and with_families(listed.split(",")) == members
