"""Zero-shot classifiers: classes are known by their names, as the library itself compares text with frames or sound."""

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
import yaml
from conftest import ROOT, noise, run, write_mp4, write_wav

from scenes.classifiers.zero_shot import class_vectors, embed_texts, probabilities, sentences
from scenes.features.foundation import (
    FILES,
    OF_TWO,
    TOKENIZER,
    Foundation,
    embed_frames,
    embed_sounds,
    folder_of,
    read_sound,
)
from scenes.rehearsal.untrained import PUBLISHED
from scenes.stage.errors import InputError

CLASSES = ["airport", "metro_station", "bus"]
TEMPLATES = ["a photo of {a class}", "{class}"]
TEXTS = ["a photo of an airport", "bus", "the sound of a busy street"]
MODELS = {"CLIP": "visual", "SigLIP2": "visual", "CLAP": "audio"}
UNLIKE = [np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(6, 0).repeat(6, 1),
          np.full((48, 48, 3), 250, np.uint8), np.zeros((48, 48, 3), np.uint8)]  # fmt: skip


@pytest.fixture
def _clips() -> None:
    """A clip of each class, then one without the modality, and one for training, whose files nobody is to open."""
    clips = [f"{name}-lyon-{number}-0" for number, name in enumerate([*CLASSES, "bus", "bus"])]
    table = pd.DataFrame({"clip": clips, "scene": [*CLASSES, "bus", "bus"], "city": "lyon", "location": range(5)})
    table["fold"] = ["evaluate"] * 4 + ["train"]
    table["audio"] = ["0.wav", "1.wav", "2.wav", "", "not-there.wav"]
    table["video"] = ["0.mp4", "1.mp4", "2.mp4", "", "not-there.mp4"]
    table.to_csv("split.csv", index=False)
    pd.DataFrame({"class": CLASSES, "meta_class": "any"}).to_csv("classes.csv", index=False)
    frames = np.zeros((5, 10, 48, 48, 3), np.uint8)
    for number, frame in enumerate(UNLIKE):
        frames[number] = frame
    np.save("frames.npy", frames)
    seconds = np.arange(480_000) / 48_000
    sounds = [noise()[0], 0.3 * np.sin(400 * np.pi * seconds), 0.3 * np.sin(16_000 * np.pi * seconds)]
    for number, sound in enumerate(sounds):
        write_wav(Path(f"{number}.wav"), np.stack([sound, sound]))


def agreeing(models: Path, name: str) -> Path:
    """A model whose text tower is fitted to its other one: sentences are at right angles to the clips of other classes.

    Its path is a whole one, by which a process remembers models.
    """
    model = Foundation(models / name, "projected", "float32")
    if MODELS[name] == "visual":
        clips = embed_frames(np.stack(UNLIKE)[:, None], model)[:, 0]
    else:
        sounds = np.stack([read_sound(f"{number}.wav") for number in range(3)])
        clips = embed_sounds(sounds, model, "clip", None)[:, 0]
    wanted = torch.tensor(np.linalg.pinv(clips).T, dtype=torch.float64).repeat_interleave(len(TEMPLATES), dim=0)
    last = {"CLIP": lambda m: m.text_projection, "SigLIP2": lambda m: m.text_model.head,
            "CLAP": lambda m: m.text_projection.linear2}[name](model.model)  # fmt: skip
    given: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].clone()))
    for scene in CLASSES:
        embed_texts(sentences(scene, TEMPLATES), model)
    hook.remove()
    last.weight.data = (torch.linalg.pinv(torch.cat(given).double(), rtol=1e-6) @ wanted).T.float()
    if last.bias is not None:
        last.bias.data.zero_()
    folder = Path("agreeing").absolute()
    shutil.copytree(models / name, folder)
    model.model.save_pretrained(folder)
    return folder


def zero_shot(kind: str, folder: Path, *options: object, templates: list[str] = TEMPLATES):
    said = [word for template in templates for word in ("--templates", template)]
    return run("zero_shot.py", kind, "split.csv", "classes.csv", *["frames.npy"] * (kind == "visual"), "p.npy", "c.csv",
               "m.json", "--model", "x/y", "--weights", folder, *said, *options)  # fmt: skip


@pytest.mark.usefixtures("_clips")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_towers_agree_gives_the_right_class(name, models):
    unit = ["--unit", "clip"] * (MODELS[name] == "audio")
    done = zero_shot(MODELS[name], agreeing(models, name), *unit)
    assert done.returncode == 0, done.stderr
    rows = np.load("p.npy")
    assert rows.shape == (4, 10, 3) and rows.dtype == np.float32
    assert (rows[:3].argmax(axis=-1) == np.arange(3)[:, None]).all()
    np.testing.assert_allclose(rows[:3].sum(axis=-1), 1, atol=1e-6)
    assert np.isnan(rows[3]).all()
    scores = json.loads(Path("m.json").read_text())
    assert scores["accuracy"] == 1 and scores["clips"] == 3
    assert list(pd.read_csv("c.csv")["predicted"]) == CLASSES


@pytest.mark.usefixtures("_clips")
@pytest.mark.parametrize("name", MODELS)
def test_embeddings_of_text_and_probabilities_are_those_of_the_library(name, models):
    """SigLIP's tokenizer pads to full length, as the library's documentation has it."""
    model, plain = (
        Foundation(models / name, "projected", "float32"),
        transformers.AutoModel.from_pretrained(models / name),
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(models / name)
    padding = {"padding": "max_length", "max_length": 64} if name == "SigLIP2" else {"padding": True}
    tokens = tokenizer(TEXTS, return_tensors="pt", **padding)
    if MODELS[name] == "visual":
        embeddings = embed_frames(np.stack(UNLIKE)[:, None], model)[:, 0]
        processor = transformers.AutoImageProcessor.from_pretrained(models / name)
        inputs, logits = processor(UNLIKE, return_tensors="pt"), "logits_per_image"
    else:
        sounds = np.stack([read_sound(f"{number}.wav") for number in range(3)]).astype(np.float32)
        embeddings = embed_sounds(sounds, model, "clip", None)[:, 0]
        processor = transformers.AutoFeatureExtractor.from_pretrained(models / name)
        inputs, logits = processor(list(sounds), sampling_rate=48_000, return_tensors="pt"), "logits_per_audio"
    with torch.no_grad():
        texts = plain.get_text_features(**tokens).pooler_output.numpy()
        expected = getattr(plain.eval()(**tokens, **inputs), logits).softmax(dim=-1).numpy()
    assert np.ptp(texts, axis=0).max() > 0.01 * np.abs(texts).max()  # or one text's would do for another
    np.testing.assert_allclose(embed_texts(TEXTS, model), texts, rtol=1e-5, atol=1e-5 * np.abs(texts).max())
    np.testing.assert_allclose(probabilities(embeddings, class_vectors(TEXTS, ["{class}"], model)), expected, rtol=1e-4)


def test_a_class_is_where_its_sentences_are_in_the_mean(models):
    model = Foundation(models / "CLIP", "projected", "float32")
    (vector,) = class_vectors(["airport"], TEMPLATES, model)
    both = embed_texts(["a photo of an airport", "airport"], model)
    both /= np.linalg.norm(both, axis=-1, keepdims=True)
    expected = both.mean(axis=0) / np.linalg.norm(both.mean(axis=0))
    np.testing.assert_allclose(vector, model.model.logit_scale.exp().item() * expected, rtol=1e-5, atol=1e-5)


def test_siglip_reads_lower_case(models):
    model = Foundation(models / "SigLIP2", "projected", "float32")
    np.testing.assert_array_equal(embed_texts(["A Bus"], model), embed_texts(["a bus"], model))


def test_names_stand_in_sentences_with_spaces_and_articles():
    templates = ["at {a class}", "{class}!", "{a class}, {class}"]
    assert sentences("metro_station", templates) == ["at a metro station", "metro station!",
                                                     "a metro station, metro station"]  # fmt: skip
    assert sentences("airport", templates[:1]) == ["at an airport"]
    for template in ("a photo", "{class} {b}", "a photo of {the class}", "{class}}"):
        with pytest.raises(InputError, match="must contain {class} or {a class}, and no other braces"):
            sentences("bus", [template])


def test_whatever_transformers_may_read_of_a_model_is_downloaded(models, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, **options: asked.update(options) or str(models / "CLIP")
    )
    assert folder_of("x/CLIP", "main", "none", text=True) == models / "CLIP"
    files = [*FILES, *OF_TWO, *TOKENIZER, "merges.txt", "special_tokens_map.json"]
    assert all(any(fnmatch(file, pattern) for pattern in asked["allow_patterns"]) for file in files)
    assert not any(fnmatch("pytorch_model.bin", pattern) for pattern in asked["allow_patterns"])


@pytest.mark.parametrize("templates", [[], "a photo of {class}"])
def test_templates_are_a_list_of_sentences(templates, models):
    model = Foundation(models / "CLIP", "projected", "float32")
    with pytest.raises(InputError, match="zero_shot: templates must be a list of sentences"):
        class_vectors(["bus", "park"], templates, model)


@pytest.mark.parametrize("kind", ["audio", "visual"])
def test_what_stands_in_for_the_published_models_in_a_rehearsal_reads_text(kind):
    params = yaml.safe_load((ROOT / "params.paper.yaml").read_text())
    for name in params[f"{kind}_zero_shot"]:
        with torch.device("meta"):
            model, _, tokenizer = PUBLISHED[params[f"{kind}_foundation"][name]["model"]](transformers)
        config = model.config.text_config
        assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
        assert len(tokenizer) <= config.vocab_size and tokenizer.model_max_length <= config.max_position_embeddings


def lacking_tokenizer(models: Path, how: str) -> Path:
    folder = Path("broken")
    shutil.copytree(models / "CLIP", folder)
    match how:
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "damaged":
            (folder / "tokenizer.json").write_text('{"version": "1.0"')
        case "another's":
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(models / "CLAP" / file, folder)
            tokenizer = json.loads((folder / "tokenizer.json").read_text())
            tokenizer["model"]["vocab"] |= {"Ġ": 4000}
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.usefixtures("_clips")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no tokenizer", "broken: lacks tokenizer.json; save the model there in Transformers' layout"),
        ("damaged", "broken: not a whole tokenizer ("),
        ("another's", "broken: the tokenizer is another model's; save or download both again"),
    ],
)
def test_a_folder_without_a_tokenizer_of_the_model_is_one_line(how, said, models):
    done = zero_shot("visual", lacking_tokenizer(models, how))
    assert done.returncode == 1 and done.stderr.startswith(f"error: {said}"), done.stderr
    assert done.stderr.count("\n") == 1 and not Path("p.npy").exists()


@pytest.mark.usefixtures("_clips")
def test_what_cannot_be_is_one_line(models):
    def error(*arguments, **options) -> str:
        done = zero_shot(*arguments, **options)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and not Path("p.npy").exists(), done.stderr
        return done.stderr

    assert "a photo: must contain {class}" in error("visual", models / "CLIP", templates=["a photo"])
    assert error("visual", models / "CLIP", templates=["{class}" + 100 * "!"]).endswith(
        f"!': longer than the 77 tokens of {models / 'CLIP'}; shorten the class or template\n"
    )
    assert error("visual", models / "DINOv2").endswith(": dinov2 knows no text: take a model that does\n")
    assert error("visual", models / "absent").startswith(f"error: {models / 'absent'}: no such folder; save the model ")
    assert error("visual", models / "CLAP") == f"error: {models / 'CLAP'}: a model of sound; take it as one of those\n"


@pytest.fixture
def checkout(models) -> Path:
    """A checkout without data, models or a recorded run: params.yaml alone."""
    numbers = yaml.safe_load((ROOT / "params.yaml").read_text())
    numbers["frames"]["size"] = 48
    for section in ("audio_foundation", "visual_foundation"):
        for name, model in numbers[section].items():
            model["weights"] = str(models / name)
    Path("params.yaml").write_text(yaml.safe_dump(numbers, sort_keys=False))
    return Path.cwd()


def test_classify_knows_classes_of_ones_own_without_training(checkout):
    write_mp4(Path("a.mp4"), seconds=3, fps=4)
    done = run("classify.py", "a.mp4", "--zero-shot", "kitchen, office,my_street", "--json", "a.json", "--checkout",
               checkout)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Trained on synthetic" not in done.stdout
    assert done.stdout.startswith("CLAP, SigLIP2, CLIP: untrained (pretrained: false in params.yaml)")
    said = json.loads(Path("a.json").read_text())
    assert said["untrained"] == ["CLAP", "SigLIP2", "CLIP"] and not said["synthetic"]
    (file,) = said["files"]
    assert file["classes"] == ["kitchen", "office", "my_street"] and len(file["seconds"]) == 3
    assert {*file["members"]} == {"audio_zero_shot/CLAP", "visual_zero_shot/SigLIP2", "visual_zero_shot/CLIP"}
    assert sum(file["probabilities"]) == pytest.approx(1, abs=1e-5)

    write_mp4(Path("mute.mp4"), seconds=2, fps=4, sound=False)
    done = run("classify.py", "mute.mp4", "--zero-shot", "kitchen,office", "--checkout", checkout)
    assert done.returncode == 0 and "audio_zero_shot/CLAP skipped: needs audio" in done.stdout, done.stderr


def test_a_model_that_params_lack_is_one_line_in_classify(checkout):
    numbers = yaml.safe_load(Path("params.yaml").read_text())
    numbers["audio_zero_shot"]["Cnn14"] = {}
    Path("params.yaml").write_text(yaml.safe_dump(numbers, sort_keys=False))
    done = run("classify.py", "a.wav", "--zero-shot", "kitchen,office", "--checkout", checkout)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: audio_zero_shot.Cnn14 is a model of audio_foundation, which lacks it;")


@pytest.mark.usefixtures("_clips")
def test_classify_says_what_the_stage_does(checkout, models):
    write_mp4(Path("0.mp4"), fps=4)
    pd.read_csv("split.csv", keep_default_na=False).iloc[:1].to_csv("split.csv", index=False)
    assert run("frames.py", "split.csv", "frames.npy", "--size", 48).returncode == 0
    numbers = yaml.safe_load(Path("params.yaml").read_text())
    Path("data").mkdir()
    shutil.copy("classes.csv", "data")
    for kind, name, file in (("visual", "SigLIP2", "0.mp4"), ("audio", "CLAP", "0.wav")):
        done = zero_shot(kind, models / name, templates=numbers["zero_shot"][kind]["templates"])
        assert done.returncode == 0, done.stderr
        member = f"{kind}_zero_shot/{name}"
        done = run("classify.py", file, "--member", member, "--json", "a.json", "--checkout", checkout)
        assert done.returncode == 0, done.stderr
        (said,) = json.loads(Path("a.json").read_text())["files"]
        np.testing.assert_allclose(said["members"][member]["seconds"], np.load("p.npy")[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--zero-shot", "kitchen"], "--zero-shot kitchen: must be two or more names, CLASS,CLASS,..., none of them"),
        (["--zero-shot", "a,,b"], "--zero-shot a,,b: must be two or more names, CLASS,CLASS,..., none of them"),
        (["--zero-shot", "my_a,b,My a"], "--zero-shot my_a,b,My a: names my_a twice"),
        (["--zero-shot", "a,b", "--member", "visual_image/VGG19"], "--member visual_image/VGG19: with --zero-shot it"),
        (["--member", "visual_zero_shot/VGG19"], "visual_zero_shot/VGG19: params.yaml has no visual_zero_shot.VGG19"),
    ],
)
def test_classes_and_members_that_cannot_be_are_one_line(arguments, said, checkout):
    Path("data").mkdir()
    Path("data/classes.csv").write_text("class,meta_class\na,x\nb,y\n")
    done = run("classify.py", "a.mp4", *arguments, "--checkout", checkout)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
