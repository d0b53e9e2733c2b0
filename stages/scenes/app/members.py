"""The trained classifiers of a checkout, for sound and pictures that are no part of its data set.

A member is a classifier, `family/name`. Its features and its network are made by the functions that the stages use,
with the numbers of params.yaml, which must be those of the recorded run (dvc.lock).
"""

import math
import os
import shlex
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr
import yaml
from threadpoolctl import threadpool_limits

from scenes.classifiers.patches import frame_count, patch_needs
from scenes.dataset.tables import SECONDS, read_classes
from scenes.ensembles import classifiers
from scenes.media.clip import ten_seconds
from scenes.media.stream import Window
from scenes.stage.cli import flags
from scenes.stage.errors import InputError
from scenes.systems import ZERO_SHOT, embedding_sections, family_of, needs_of, section_of

DATASET_RATE = 48_000
SYNTHETIC = "data/demo/clips"


class Run(NamedTuple):
    """What a checkout knows of its recorded run."""

    folder: Path
    params: dict[str, Any]
    commands: dict[str, str]  # of dvc.lock, by stage

    @property
    def classes(self) -> list[str]:
        return list(read_classes(self.folder / "data/classes.csv")["class"])

    @property
    def synthetic(self) -> bool:
        """Whether the recorded run learnt from the demo's made-up clips."""
        return SYNTHETIC in self.commands.get("split", self.params["dataset"]["setup"])


class Member(NamedTuple):
    """A trained classifier."""

    name: str
    media: list[str]  # that it needs: audio, video or both
    inputs: Callable[..., Any]  # of ten seconds of each, [2, samples] and [10, size, size, 3]: what the network takes
    network: Any  # with its preprocessing; None where the inputs are the probabilities
    needs: np.ndarray  # seconds of a window that have to be read before its k-th second is known, [10]


def read_run(folder: Path) -> Run:
    """Read the params.yaml and dvc.lock of a checkout."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    params = yaml.load((folder / "params.yaml").read_bytes(), loader)
    lock = folder / "dvc.lock"
    recorded = yaml.load(lock.read_bytes(), loader)["stages"] if lock.exists() else {}
    return Run(folder, params, {name: stage["cmd"] for name, stage in recorded.items()})


def members_of(run: Run, ensemble: str) -> list[str]:
    """Names of an ensemble's members, `family/name`."""
    ensembles = run.params["ensembles"]
    if ensemble not in ensembles:
        raise InputError(f"--ensemble {ensemble}: not one of {', '.join(ensembles)}")
    return ensembles[ensemble]


def load(run: Run, names: list[str], classes: list[str] | None = None) -> list[Member]:
    """Make the networks of some members and load their trained weights.

    Parameters
    ----------
    run : Run
        Of the checkout.
    names : list of str
        `family/name`.
    classes : list of str, optional
        Of zero-shot members, where these are not the checkout's.

    Raises
    ------
    InputError
        If there is no such member, it has no network or is not trained, or params.yaml is not what it was trained with.
    """
    os.environ.setdefault("KERAS_BACKEND", run.params.get("backend", "tensorflow"))
    os.environ.setdefault("OMP_NUM_THREADS", str(run.params["threads"]))
    from scenes.learning.backend import keras  # only now: it asks for both
    from scenes.learning.front import behind
    from scenes.learning.inference import load_weights

    members = []
    for name in names:
        family, key = family_of(name), name.partition("/")[2]
        if not family.features:
            raise InputError(f"{name}: holds predictions of another system and has no network to run; name classifiers "
                             "of other families by --member, or an ensemble of them")  # fmt: skip
        known = run.params[family.section]
        if key not in known:
            raise InputError(f"{name}: params.yaml has no {family.section}.{key}; name one of {', '.join(known)}")
        if name.partition("/")[0] in ZERO_SHOT:
            members.append(_zero_shot(run, name, classes or run.classes))
            continue
        weights = run.folder / f"data/models/{name}.weights.h5"
        if not weights.exists():
            raise InputError(f"{weights}: not trained yet; run dvc repro, or dvc pull where it is shared")
        options = family.options(run.params, key)
        _hold(run, f"train-{name.partition('/')[0].replace('_', '-')}@{key}", asdict(options))
        features = [_feature(run, feature) for feature in family.features_of(key)]
        keras.config.set_dtype_policy("float32")
        made, rows = family.implementation, [np.empty((0, *f.shape), f.dtype) for f in features]
        network = made.network(options, rows, len(run.classes))
        load_weights(network, weights)
        network = behind(made.front(options, rows), network)
        inputs = partial(_inputs, partial(made.load, options), features, family.media)
        section = section_of(run.params, name)
        own = run.params["audio_embedding"] if section == "audio" else run.params[section][key]
        needs = needs_of(name, own.get("unit", "second"), partial(_patch_needs, run))
        members.append(Member(name, family.media, inputs, network, needs))
    return members


def zero_shot_members(run: Run) -> list[str]:
    """The members of params.yaml that classify by the names of classes, `family/name`.

    Raises
    ------
    InputError
        If a section of params.yaml has an entry that is wrong, see `scenes.ensembles.classifiers`.
    """
    classifiers(run.params)
    return [f"{family}/{name}" for family in ZERO_SHOT for name in run.params[family]]


def untrained(run: Run, names: list[str]) -> list[str]:
    """Those of some zero-shot members whose models have random weights: the demo's."""
    chosen = [name for name in names if name.partition("/")[0] in ZERO_SHOT]
    models = {name: run.params[section_of(run.params, name)][name.partition("/")[2]] for name in chosen}
    return [name.partition("/")[2] for name, numbers in models.items() if not numbers["pretrained"]]


def _zero_shot(run: Run, name: str, classes: list[str]) -> Member:
    from scenes.classifiers.zero_shot import class_vectors, probabilities

    family, key = name.split("/")
    kind = family.partition("_")[0]
    numbers, sentences = run.params[f"{kind}_foundation"][key], run.params["zero_shot"][kind]
    told = {
        option: numbers[option] for option in ("model", "revision", "weights", "unit", "level") if option in numbers
    }
    _hold(run, f"predict-{kind}-zero-shot@{key}", {**told, **sentences, **run.params["foundation"]})
    feature, model = _embedder(kind, run, key, "projected", text=True)
    vectors = class_vectors(classes, sentences["templates"], model)

    def judge(ten: np.ndarray) -> np.ndarray:
        return probabilities(feature.extract(ten), vectors)

    needs = needs_of(name, numbers.get("unit", "second"), partial(_patch_needs, run))
    return Member(name, list(feature.media), judge, None, needs)


def _inputs(load: Callable, features: list["Feature"], media: list[str], *tens: np.ndarray) -> Any:
    """A network's inputs for ten seconds of each of `media`."""
    given = dict(zip(media, tens, strict=True))
    arrays = [feature.extract(*(given[medium] for medium in feature.media))[None] for feature in features]
    return load(arrays)(np.zeros(SECONDS, int), np.arange(SECONDS))


def _patch_needs(run: Run, kind: str) -> np.ndarray:
    from scenes.features import spectrogram

    numbers = run.params["spectrogram"][kind]
    return patch_needs(numbers["sample_rate"], numbers["hop"], spectrogram.support(kind, numbers))


def judge(members: list[Member], window: Window, rate: int, batch: int = SECONDS) -> np.ndarray:
    """What each member says of the seconds of a window that can be known by now, `[members, seconds, classes]`.

    NaN stands where a member has nothing to go by.

    Raises
    ------
    InputError
        If a probability is not finite.
    """
    from scenes.learning.backend import keras
    from scenes.learning.inference import forward, refuse_not_finite

    tens, ends = {}, {}
    if window.sound is not None:
        tens["audio"], ends["audio"] = ten_seconds(window.sound, rate), window.sound.shape[1] / rate
    if window.pictures is not None:
        ends["video"] = len(window.pictures)
        tens["video"] = window.pictures[np.arange(SECONDS) % len(window.pictures)]
    said = []
    for member in members:
        if not set(member.media) <= set(tens):
            said.append(None)
            continue
        end = min(ends[medium] for medium in member.media)
        known = min(SECONDS, max(1, math.ceil(end - 0.5))) if window.whole else int((member.needs <= end).sum())
        if not known:
            said.append(np.empty((0, 0)))
            continue
        inputs = member.inputs(*(tens[medium] for medium in member.media))
        inputs = keras.tree.map_structure(lambda array, known=known: array[:known], inputs)
        rows = np.array(inputs if member.network is None else forward(member.network, inputs, batch))
        refuse_not_finite(rows, [f"second {window.start + second}" for second in range(len(rows))], member.name)
        if "video" in member.media:
            rows[: window.unseen] = np.nan
        said.append(rows)
    counts = [len(rows) for rows in said if rows is not None]
    count = (max if window.whole else min)(counts, default=0)
    classes = next((rows.shape[1] for rows in said if rows is not None and len(rows)), 0)
    result = np.full((len(members), count, classes), np.nan, np.float32)
    for number, rows in enumerate(said):
        if rows is not None and count:
            result[number, : len(rows[:count])] = rows[:count]
    return result


def _hold(run: Run, stage: str, numbers: dict[str, Any]) -> None:
    """Hold params.yaml to the command of the recorded run: other numbers would give other features unnoticed."""
    words = flags(shlex.split(run.commands.get(stage, "")), [f"--{key}" for key in numbers])
    for key, value in numbers.items() if words else ():
        if isinstance(value, bool):
            found, wanted = (
                [word for word in words if word in (f"--{key}", f"--no-{key}")],
                [f"--{'' if value else 'no-'}{key}"],
            )
        else:
            found = [after for word, after in zip(words, words[1:], strict=False) if word == f"--{key}"]
            wanted = [str(item) for item in (value if isinstance(value, list) else [value])]
        if found != wanted:
            raise InputError(
                f"params.yaml: {key} is {' '.join(wanted)}, but {stage} ran with {' '.join(found) or 'none'}; "
                "set it back or run dvc repro"
            )


class Feature(NamedTuple):
    """How a feature is made of ten seconds, as its stage makes it."""

    media: tuple[str, ...]  # audio, [2, samples], video, [10, size, size, 3], or both
    shape: tuple[int, ...]  # of a clip's row
    dtype: str
    extract: Callable[..., np.ndarray]


def _feature(run: Run, path: str) -> Feature:
    """The feature that stands in a run's `data/<path>.npy`."""
    folder, _, name = path.partition("/")
    return FEATURES[folder](run, *([name] if name else []))


def _spectrogram(run: Run, kind: str) -> Feature:
    from scenes.features import spectrogram

    numbers = run.params["spectrogram"][kind]
    _hold(run, f"spectrogram@{kind}", numbers)
    rate = numbers["sample_rate"]
    frames = frame_count(rate, numbers["hop"])

    def extract(sound: np.ndarray) -> np.ndarray:
        if rate != DATASET_RATE:
            sound = ten_seconds(soxr.resample(sound.T, DATASET_RATE, rate).T, rate)
        with threadpool_limits(limits=1):  # as the stage has it: a sum's last digits depend on how it is shared out
            return getattr(spectrogram, kind)(sound, **numbers, frames=frames).astype(np.float16)

    return Feature(("audio",), (2, numbers["bins"], frames), "float16", extract)


def _embedding(folder: str, run: Run, name: str) -> Feature:
    """By the network that params.yaml has of this name, in whichever section."""
    return EMBEDDINGS[next(each for each in embedding_sections(folder) if name in run.params[each])](run, name)


def _panns(run: Run, name: str) -> Feature:
    from scenes.dataset.weights import FOLDER
    from scenes.features import panns, panns_checkpoints, panns_embedder
    from scenes.features.audio_embedding import embed, mono, published, untrained

    numbers, common = run.params["audio"][name], run.params["audio_embedding"]
    _hold(run, f"embed-audio@{name}", {**numbers, **common})
    if not numbers["pretrained"]:
        network = untrained(name, common["seed"], run.folder / "data/media.csv", common["unit"], run.folder)
    elif numbers["weights"] == "none":
        network = panns_checkpoints.load(name, published(name, Path(os.environ.get("SCENES_WEIGHTS", FOLDER))))
    else:
        network = panns_checkpoints.load(name, run.folder / numbers["weights"])
    embedder = panns_embedder.Embedder(network, common["layer"], common["precision"])
    shape = SECONDS, panns.published(name).dimension
    return Feature(("audio",), shape, "float32", lambda sound: embed(mono(sound)[None], embedder, common["unit"])[0])


def _frames(run: Run) -> Feature:
    _hold(run, "frames", run.params["frames"])
    size = run.params["frames"]["size"]
    return Feature(("video",), (SECONDS, size, size, 3), "uint8", lambda frames: frames)


def _application(run: Run, name: str) -> Feature:
    from scenes.features.visual_embedding import embed, embedder, sample

    _hold(run, "frames", run.params["frames"])
    numbers = {key: run.params["visual"][name][key] for key in ("size", "pretrained", "weights")}
    common = run.params["visual_embedding"]
    _hold(run, f"embed-visual@{name}", {**numbers, **common})
    looked_at = sample(run.folder / "data/media.csv", numbers["pretrained"])
    if numbers["weights"] != "none":
        numbers = {**numbers, "weights": str(run.folder / numbers["weights"])}
    network = embedder(run.folder / "data/frames.npy", looked_at, name, **numbers, **common)
    shape = SECONDS, network.output_shape[-1]
    return Feature(("video",), shape, "float32", lambda frames: embed(frames[None], network)[0])


def _foundation(kind: str, run: Run, name: str) -> Feature:
    numbers = run.params[f"{kind}_foundation"][name]
    _hold(run, f"embed-{kind.replace('_', '-')}-foundation@{name}", {**numbers, **run.params["foundation"]})
    return _embedder(kind, run, name, numbers["layer"])[0]


def _embedder(kind: str, run: Run, name: str, layer: str, text: bool = False) -> tuple[Feature, Any]:
    """The feature of a foundation model's layer, and the model, which is to read `text` or not."""
    from scenes.features.foundation import decibels, embed_both, embed_frames, embed_sounds, folder_of, load

    numbers = run.params[f"{kind}_foundation"][name]
    media = {"audio": ("audio",), "visual": ("video",), "audio_visual": ("audio", "video")}[kind]
    if "video" in media:
        _hold(run, "frames", run.params["frames"])
    own = numbers["weights"] if numbers["weights"] == "none" else str(run.folder / numbers["weights"])
    folder = folder_of(numbers["model"], numbers["revision"], own, text)
    model = load(folder, layer, run.params["foundation"]["precision"], *media)()

    def see(frames: np.ndarray) -> np.ndarray:
        return embed_frames(frames[None], model)[0]

    def hear(sound: np.ndarray, *frames: np.ndarray) -> np.ndarray:
        embed, level = embed_both if frames else embed_sounds, decibels(str(numbers["level"]))
        return embed(sound.mean(axis=0)[None], *(array[None] for array in frames), model, numbers["unit"], level)[0]

    return Feature(media, (SECONDS, model.dimension), "float32", hear if "audio" in media else see), model


def _audio_module(run: Run, name: str) -> Feature:
    from scenes.features.audio_module import embed, hear

    numbers = run.params["audio_module"][name]
    _hold(run, f"embed-audio-module@{name}", numbers)
    model = hear(**numbers, folder=run.folder)
    return Feature(
        ("audio",), (SECONDS, model.dimension), "float32", lambda sound: embed(sound.mean(axis=0)[None], model)[0]
    )


def _visual_module(run: Run, name: str) -> Feature:
    from scenes.features.visual_module import embed, network

    numbers = run.params["visual_module"][name]
    _hold(run, "frames", run.params["frames"])
    _hold(run, f"embed-visual-module@{name}", numbers)
    model = network(**numbers, folder=run.folder)
    return Feature(("video",), (SECONDS, model.dimension), "float32", lambda frames: embed(frames[None], model)[0])


# By the section of params.yaml.
EMBEDDINGS: dict[str, Callable[[Run, str], Feature]] = {
    "audio": _panns,
    "visual": _application,
    "audio_foundation": partial(_foundation, "audio"),
    "visual_foundation": partial(_foundation, "visual"),
    "audio_visual_foundation": partial(_foundation, "audio_visual"),
    "audio_module": _audio_module,
    "visual_module": _visual_module,
}
# By the folder under data/.
FEATURES: dict[str, Callable[..., Feature]] = {
    "spectrogram": _spectrogram,
    "audio_embedding": partial(_embedding, "audio_embedding"),
    "frames": _frames,
    "visual_embedding": partial(_embedding, "visual_embedding"),
    "audio_visual_embedding": partial(_embedding, "audio_visual_embedding"),
}
