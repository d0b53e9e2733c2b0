"""Frozen foundation models: pictures by CLIP, SigLIP and DINOv2, sound by CLAP and AST, loaded by Transformers.

A model is a folder in Transformers' layout: `config.json`, `preprocessor_config.json` and `model.safetensors`. It comes
from the hub at a pinned revision, or is the user's own. Nothing is unpickled, and no code of a hub is run.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soxr
import torch

from scenes.dataset.tables import SECONDS
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError

LAYERS = ("pooled", "projected")
WEIGHTS = "model.safetensors"
FILES = ["config.json", "preprocessor_config.json", WEIGHTS]
TOKENIZER = ["tokenizer.json", "tokenizer_config.json"]  # where text is read too
SAMPLES = 16  # pictures or sounds that a network is given at once
DATASET_RATE = 48_000


class Architecture(NamedTuple):
    """A kind of model that Transformers builds: its classes there, what it takes, where its embeddings are.

    `projected`, into the space that pictures or sounds share with text, is None where there is no text.
    """

    model: str
    processor: str
    medium: Literal["video", "audio"]
    pooled: Callable[[Any, dict], Any]
    projected: Callable[[Any, dict], Any] | None


ARCHITECTURES = {
    "clip": Architecture(
        "CLIPModel", "CLIPImageProcessorPil", "video",
        lambda model, inputs: model.vision_model(**inputs), lambda model, inputs: model.get_image_features(**inputs),
    ),
    "siglip": Architecture(
        "SiglipModel", "SiglipImageProcessorPil", "video",
        lambda model, inputs: model.vision_model(**inputs), lambda model, inputs: model.get_image_features(**inputs),
    ),
    "dinov2": Architecture(
        "Dinov2Model", "BitImageProcessorPil", "video", lambda model, inputs: model(**inputs), None
    ),
    "clap": Architecture(
        "ClapModel", "ClapFeatureExtractor", "audio",
        lambda model, inputs: model.audio_model(**inputs), lambda model, inputs: model.get_audio_features(**inputs),
    ),
    "audio-spectrogram-transformer": Architecture(
        "ASTModel", "ASTFeatureExtractor", "audio", lambda model, inputs: model(**inputs), None
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
    else:
        try:
            folder = Path(snapshot_download(model, revision=revision, allow_patterns=files, etag_timeout=5))
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
    lacking = [file for file in files if not (folder / file).is_file()]
    if lacking:
        raise InputError(f"{folder}: lacks {' and '.join(lacking)}; save the model there in Transformers' layout")
    return folder


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
        If the folder holds another kind of model, its weights are damaged, not all there or not finite, or the model
        has no such layer.
    """

    def __init__(self, folder: Path, layer: str, precision: str) -> None:
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        kind = _kind(folder / FILES[0])
        if kind not in ARCHITECTURES:
            raise InputError(f"{folder}: a model of the kind {kind!r}; known are {', '.join(ARCHITECTURES)}")
        architecture, self.folder = ARCHITECTURES[kind], folder
        self.medium, self.run = architecture.medium, getattr(architecture, layer)
        if self.run is None:
            raise InputError(f"{folder}: {kind} knows no text: take its pooled layer, or a model that knows text")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "At least one mel filter")  # of AST, as it is published
                processor = getattr(transformers, architecture.processor)
                self.processor = processor.from_pretrained(folder, local_files_only=True)
            self.model, loaded = getattr(transformers, architecture.model).from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
                dtype=getattr(torch, precision),
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
            return config.projection_dim if hasattr(config, "projection_dim") else config.vision_config.hidden_size
        tower = getattr(config, "vision_config", None) or getattr(config, "audio_config", None) or config
        return tower.hidden_size

    @torch.inference_mode()
    def __call__(self, samples: list[np.ndarray]) -> np.ndarray:
        """Embeddings float32 `[n, D]` of pictures, uint8 `[S, S, 3]` each, or of sounds at the model's rate."""
        rows = []
        for start in range(0, len(samples), SAMPLES):
            some = samples[start : start + SAMPLES]
            given = {} if self.medium == "video" else {"sampling_rate": self.processor.sampling_rate}
            inputs = self.processor(some, return_tensors="pt", **given).to(self.device, self.model.dtype)
            rows.append(self.run(self.model, dict(inputs)).pooler_output.float().cpu().numpy())
        return np.concatenate(rows)


@cache
def foundation(folder: Path, layer: str, precision: str) -> Foundation:
    """The model of a folder, made once a process."""
    return Foundation(folder, layer, precision)


def load(folder: Path, layer: str, precision: str, medium: str) -> partial[Foundation]:
    """What makes the model of a folder, once a process: picklable, as work on clips has to be.

    Raises
    ------
    InputError
        If it is a model of another medium, or none (see `Foundation`).
    """
    model = partial(foundation, folder, layer, precision)
    if model().medium != medium:
        raise InputError(
            f"{folder}: a model of {'sound' if medium == 'video' else 'pictures'}; take it as one of those"
        )
    return model


def _kind(config: Path) -> str:
    try:
        return str(json.loads(config.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{config}: not the configuration of a model; download it again") from error


def embed_frames(frames: np.ndarray, model: Foundation) -> np.ndarray:
    """Embeddings float32 `[clips, 10, D]` of frames uint8 `[clips, 10, S, S, 3]`."""
    return model(list(frames.reshape(-1, *frames.shape[2:]))).reshape(*frames.shape[:2], -1)


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
    if level is not None:
        sounds = at_level(sounds, level)
    rate, clips, units = model.processor.sampling_rate, len(sounds), SECONDS if unit == "second" else 1
    sounds = np.stack([soxr.resample(sound, DATASET_RATE, rate) for sound in sounds]).astype(np.float32)
    rows = model(list(np.tile(sounds.reshape(clips * units, -1), units))).reshape(clips, units, -1)
    return np.broadcast_to(rows, (clips, SECONDS, rows.shape[-1]))


def at_level(sounds: np.ndarray, level: float) -> np.ndarray:
    """Sounds `[clips, samples]` scaled to a root mean square, dB below full scale; silence stays silence."""
    loudness = np.sqrt(np.mean(np.square(sounds, dtype=np.float64), axis=1, keepdims=True))
    return sounds * np.where(loudness > 0, 10 ** (level / 20) / np.where(loudness > 0, loudness, 1), 1)
