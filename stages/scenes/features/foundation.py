"""Frozen foundation models, loaded by Transformers: CLIP, SigLIP and DINOv2 of pictures, CLAP and AST of sound, PE-AV.

A model is a folder in Transformers' layout: `config.json`, `preprocessor_config.json` and `model.safetensors`. It comes
from the hub at a pinned revision, or is the user's own. Nothing is unpickled, and no code of a hub is run.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soxr
import torch

from scenes.dataset.tables import SECONDS
from scenes.learning.numerics import settle
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError, one_line

settle("torch")

WEIGHTS = "model.safetensors"
FILES = ["config.json", "preprocessor_config.json", WEIGHTS]
TOKENIZER = ["tokenizer.json", "tokenizer_config.json"]  # where text is read too
# A model with two processors has these instead of the second file, or beside it.
OF_TWO = ["processor_config.json", "video_preprocessor_config.json"]
PATTERNS = ["*.json", "*.txt", WEIGHTS]  # whatever of a folder Transformers may read
SAMPLES = 16  # pictures or sounds that a network is given at once
DATASET_RATE = 48_000


class Architecture(NamedTuple):
    """A kind of model that Transformers builds: its classes there, what it takes, where its embeddings are.

    `processors` are those of `audio` or `video`, of whichever it takes. `projected`, into the space that pictures or
    sounds share with text, is None where there is no text. `packages` are those of requirements-peav.txt.
    """

    model: str
    processors: dict[str, str]
    pooled: Callable[[Any, dict], torch.Tensor]
    projected: Callable[[Any, dict], torch.Tensor] | None
    packages: tuple[str, ...] = ()


ARCHITECTURES = {
    "clip": Architecture(
        "CLIPModel", {"video": "CLIPImageProcessorPil"},
        lambda model, inputs: model.vision_model(**inputs).pooler_output,
        lambda model, inputs: model.get_image_features(**inputs).pooler_output,
    ),
    "siglip": Architecture(
        "SiglipModel", {"video": "SiglipImageProcessorPil"},
        lambda model, inputs: model.vision_model(**inputs).pooler_output,
        lambda model, inputs: model.get_image_features(**inputs).pooler_output,
    ),
    "dinov2": Architecture(
        "Dinov2Model", {"video": "BitImageProcessorPil"}, lambda model, inputs: model(**inputs).pooler_output, None
    ),
    "clap": Architecture(
        "ClapModel", {"audio": "ClapFeatureExtractor"},
        lambda model, inputs: model.audio_model(**inputs).pooler_output,
        lambda model, inputs: model.get_audio_features(**inputs).pooler_output,
    ),
    "audio-spectrogram-transformer": Architecture(
        "ASTModel", {"audio": "ASTFeatureExtractor"}, lambda model, inputs: model(**inputs).pooler_output, None
    ),
    "pe_audio_video": Architecture(
        "PeAudioVideoModel", {"audio": "PeAudioFeatureExtractor", "video": "PeVideoVideoProcessor"},
        lambda model, inputs: model.audio_video_encoder(**inputs).pooler_output,
        lambda model, inputs: model.get_audio_video_embeds(**inputs).audio_video_embeds,
        ("timm", "torchvision"),
    ),
}  # fmt: skip


def folder_of(model: str, revision: str, weights: str, text: bool = False) -> Path:
    """The folder of a model: the user's own, or that of the hub's cache, filled if it lacks the files.

    Parameters
    ----------
    model : str
        Its name on the hub, `owner/name`.
    revision : str
        A commit there.
    weights : str
        A folder, or `none` for the hub's.
    text : bool
        Whether it is to read text, and so needs a tokenizer.

    Raises
    ------
    InputError
        If it lacks a file, cannot be downloaded, or a downloaded file is not the one that the hub recorded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    files = [*FILES, *TOKENIZER] if text else FILES
    if weights != "none":
        folder = Path(weights)
        if not folder.is_dir():
            raise InputError(
                f"{folder}: no such folder; save the model there in Transformers' layout, or run dvc repro "
                "data/demo/dvc.yaml:synthesize-models, which makes the demo's"
            )
    else:
        try:
            folder = Path(snapshot_download(model, revision=revision, allow_patterns=PATTERNS, etag_timeout=5))
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
            raise InputError(
                f"{model}: cannot be downloaded from {os.environ.get('HF_ENDPOINT', 'https://huggingface.co')} at "
                f"revision {revision} ({str(error).partition(chr(10))[0]}); put {', '.join(files)} into a folder and "
                "name it as weights"
            ) from error
        blob = (folder / WEIGHTS).resolve()
        if len(blob.name) == 64:  # the hub names large files by their SHA-256
            with blob.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != blob.name:
                    raise InputError(f"{blob}: not the file that the hub published; remove it and run again")
    there = {path.name for path in files_of(folder)}
    known = ARCHITECTURES.get(_kind(folder / FILES[0])) if text and FILES[0] in there else None
    if known and not known.projected:
        raise InputError(f"{folder}: {_kind(folder / FILES[0])} knows no text: take a model that does")
    lacking = [file for file in files if file not in there and not (file == FILES[1] and OF_TWO[0] in there)]
    if lacking:
        raise InputError(f"{folder}: lacks {' and '.join(lacking)}; save the model there in Transformers' layout")
    return folder


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that Transformers may read."""
    return sorted(path for pattern in PATTERNS for path in folder.glob(pattern))


class Foundation:
    """A frozen model, ready for inference.

    Parameters
    ----------
    folder : Path
        As of `folder_of`.
    layer : str
        `pooled`, what the network makes of a whole picture or sound, or `projected`, that in the space of text.
    precision : str
        `float32` or `bfloat16`.

    Raises
    ------
    InputError
        If the folder holds another kind of model, its weights are damaged, not all there or not finite, the model has
        no such layer, or a package that it needs is not installed.
    """

    def __init__(self, folder: Path, layer: str, precision: str) -> None:
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        kind = _kind(folder / FILES[0])
        if kind not in ARCHITECTURES:
            raise InputError(f"{folder}: a model of the kind {kind!r}; known are {', '.join(ARCHITECTURES)}")
        architecture, self.folder = ARCHITECTURES[kind], folder
        self.media, self.run = list(architecture.processors), getattr(architecture, layer)
        if self.run is None:
            raise InputError(f"{folder}: {kind} knows no text: take its pooled layer, or a model that knows text")
        # Transformers imports torchvision wherever it is installed.
        packages = architecture.packages or (("torchvision",) if find_spec("torchvision") else ())
        for package in packages:
            try:
                import_module(package)
            except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
                raise InputError(
                    f"{folder}: {kind} needs {' and '.join(packages)} beside a matching torch ({one_line(error)}): "
                    "pip install -r requirements-peav.txt, with the index that it names for a CPU build"
                ) from error
        if len(self.media) == 2 and not any((folder / file).is_file() for file in OF_TWO):
            raise InputError(f"{folder}: lacks {OF_TWO[0]}; save the processor there in Transformers' layout")
        try:
            # PE-AV's module prints what its authors left to do.
            with warnings.catch_warnings(), redirect_stdout(None):
                warnings.filterwarnings("ignore", "At least one mel filter")  # of AST, as it is published
                self.processors = {
                    medium: getattr(transformers, name).from_pretrained(folder, local_files_only=True)
                    for medium, name in architecture.processors.items()
                }
                self.model, loaded = getattr(transformers, architecture.model).from_pretrained(
                    folder, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                    output_loading_info=True, dtype=getattr(torch, precision),
                )  # fmt: skip
        except Exception as error:  # of safetensors, of a config: each library has its own
            reason = str(error).strip().partition("\n")[0]
            raise InputError(f"{folder}: not a whole {kind} model ({reason}); save or download it again") from error
        lacking = sorted(loaded["missing_keys"])
        if lacking:
            raise InputError(f"{folder}: {WEIGHTS} lacks {lacking[0]} and {len(lacking) - 1} more; download it again")
        for name, value in self.model.named_parameters():
            if not value.isfinite().all():
                raise InputError(f"{folder}: {name} holds values that are not finite; download it again")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.eval().to(self.device)

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        config = self.model.config
        if self.run is ARCHITECTURES[config.model_type].projected:
            if hasattr(config, "projection_dim"):
                return config.projection_dim
            return getattr(config, "vision_config", config.text_config).hidden_size
        towers = ("audio_video_config", "vision_config", "audio_config")
        return next((getattr(config, tower) for tower in towers if hasattr(config, tower)), config).hidden_size

    @property
    def rate(self) -> int:
        """Samples a second of the sounds that it takes."""
        return self.processors["audio"].sampling_rate

    @torch.inference_mode()
    def __call__(self, **samples: list[np.ndarray]) -> np.ndarray:
        """Embeddings float32 `[n, D]`.

        Parameters
        ----------
        samples : list of ndarray
            `audio`: sounds at the model's rate. `video`: pictures, uint8 `[S, S, 3]`, or, of a model of both, videos,
            uint8 `[frames, S, S, 3]`.
        """
        rows = []
        for start in range(0, len(samples[self.media[0]]), SAMPLES):
            inputs = {}
            for medium in self.media:
                given = {"sampling_rate": self.rate} if medium == "audio" else {}
                some = samples[medium][start : start + SAMPLES]
                made = self.processors[medium](some, return_tensors="pt", **given)
                inputs |= made.to(self.device, self.model.dtype)
            rows.append(self.run(self.model, inputs).float().cpu().numpy())
        return np.concatenate(rows)


@cache
def foundation(folder: Path, layer: str, precision: str) -> Foundation:
    """The model of a folder, made once a process."""
    return Foundation(folder, layer, precision)


def load(folder: Path, layer: str, precision: str, *media: str) -> partial[Foundation]:
    """What makes the model of a folder, once a process: picklable, as work on clips has to be.

    Raises
    ------
    InputError
        If it is a model of other media, or none (see `Foundation`).
    """
    model = partial(foundation, folder, layer, precision)
    if model().media != list(media):
        kind = " and ".join({"audio": "sound", "video": "pictures"}[medium] for medium in model().media)
        raise InputError(f"{folder}: a model of {kind}; take it as one of those")
    return model


def _kind(config: Path) -> str:
    try:
        return str(json.loads(config.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{config}: not the configuration of a model; download it again") from error


def embed_frames(frames: np.ndarray, model: Foundation) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of frames uint8 `[clips, 10, S, S, 3]`."""
    return model(video=list(frames.reshape(-1, *frames.shape[2:]))).reshape(*frames.shape[:2], -1)


def read_sound(path: str | Path) -> np.ndarray:
    """A clip's sound, mono `[480000]` at 48 kHz."""
    return read_audio(path, DATASET_RATE).mean(axis=0)


def decibels(level: str) -> float | None:
    """The number of an option, `none` or dB below full scale.

    Raises
    ------
    InputError
        If it is neither.
    """
    if level == "none":
        return None
    try:
        value = float(level)
    except ValueError:
        value = float("nan")
    if not -100 <= value <= 0:
        raise InputError(f"--level {level}: must be none or from -100 to 0")
    return value


def embed_sounds(sounds: np.ndarray, model: Foundation, unit: str, level: float | None) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of mono sounds `[clips, 480000]` at 48 kHz.

    Parameters
    ----------
    sounds : ndarray
        As they are in the data set.
    model : Foundation
        Of sound.
    unit : str
        `clip`: one embedding for all its seconds; `second`: one each, of the second repeated to ten. Both models know
        sounds of ten seconds only, and of a second and nine of silence they would mostly hear the silence.
    level : float or None
        Root mean square that each clip is scaled to, dB below full scale; None, as it is.
    """
    clips, units = len(sounds), SECONDS if unit == "second" else 1
    sounds = _heard(sounds, model.rate, level).reshape(clips * units, -1)
    rows = model(audio=list(np.tile(sounds, units))).reshape(clips, units, -1)
    return np.broadcast_to(rows, (clips, SECONDS, rows.shape[-1]))


def embed_both(sounds: np.ndarray, frames: np.ndarray, model: Foundation, unit: str, level: float | None) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of mono sounds `[clips, 480000]` at 48 kHz with their frames.

    Parameters
    ----------
    sounds : ndarray
        As they are in the data set.
    frames : ndarray
        One a second, uint8 `[clips, 10, S, S, 3]`.
    model : Foundation
        Of sound and pictures, which takes sounds and videos of any length.
    unit : str
        `clip`: one embedding for all its seconds, of ten seconds of sound and a video of ten frames; `second`: one
        each, of a second of sound and a video of its one frame.
    level : float or None
        As of `embed_sounds`.
    """
    units = SECONDS if unit == "second" else 1
    sounds = _heard(sounds, model.rate, level).reshape(len(sounds), units, -1)
    frames = frames.reshape(len(frames), units, -1, *frames.shape[2:])
    # A clip at a time: the network of sound convolves the samples themselves.
    rows = np.stack([model(audio=list(sound), video=list(video)) for sound, video in zip(sounds, frames, strict=True)])
    return np.broadcast_to(rows, (len(rows), SECONDS, rows.shape[-1]))


def _heard(sounds: np.ndarray, rate: int, level: float | None) -> np.ndarray:
    """Sounds float32 `[clips, samples]` at a model's rate, scaled to a level."""
    if level is not None:
        sounds = at_level(sounds, level)
    return np.stack([soxr.resample(sound, DATASET_RATE, rate) for sound in sounds]).astype(np.float32)


def at_level(sounds: np.ndarray, level: float) -> np.ndarray:
    """Sounds `[clips, samples]` scaled to a root mean square, dB below full scale; silence stays silence."""
    loudness = np.sqrt(np.mean(np.square(sounds, dtype=np.float64), axis=1, keepdims=True))
    return sounds * np.where(loudness > 0, 10 ** (level / 20) / np.where(loudness > 0, loudness, 1), 1)
