"""Zero-shot classification (Radford et al. 2021): the classes are known by their names alone, and nothing is trained.

A model of pictures, or sound, and text puts both into one space. A class lies where the sentences about it lie, and a
second is the more probably of a class, the smaller the angle between the two is.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from scenes.features.foundation import Foundation
from scenes.stage.errors import InputError

NAME = re.compile(r"\{(a )?class\}")


class Text(NamedTuple):
    """How a kind of model takes text: what short texts are padded to, their case, and its temperature's name."""

    padding: str
    lower: bool
    scale: str


# SigLIP has seen texts in lower case and at full length only.
TEXTS = {
    "clip": Text("longest", False, "logit_scale"),
    "siglip": Text("max_length", True, "logit_scale"),
    "clap": Text("longest", False, "logit_scale_a"),
}


def sentences(name: str, templates: Sequence[str]) -> list[str]:
    """The sentences about a class, `metro_station`: its name, with spaces, in place of `{class}` or `{a class}`.

    Raises
    ------
    InputError
        If a template has no such place, or another.
    """
    words = name.replace("_", " ")
    article = "an " if words[:1].lower() in "aeiou" else "a "
    for template in templates:
        if not NAME.search(template) or set("{}") & set(NAME.sub("", template)):
            raise InputError(f"--templates {template}: must contain {{class}} or {{a class}}, and no other braces")
    return [NAME.sub(lambda place: (article if place[1] else "") + words, template) for template in templates]


@torch.inference_mode()
def embed_texts(texts: list[str], model: Foundation) -> np.ndarray:
    """Embeddings float32 `[n, D]` of texts, in the space of the model's pictures or sounds.

    Raises
    ------
    InputError
        If the tokenizer beside the model is damaged or another model's, or a text is too long for the model.
    """
    import transformers

    config, kind = model.model.config, TEXTS[model.model.config.model_type]
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            model.folder, local_files_only=True, trust_remote_code=False
        )
        longest = min(tokenizer.model_max_length, config.text_config.max_position_embeddings)
        texts = [text.lower() for text in texts] if kind.lower else texts
        tokens = tokenizer(texts, padding=kind.padding, max_length=longest, truncation=False, return_tensors="pt")
    except Exception as error:  # of a damaged file: the library has one for each of its own
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{model.folder}: not a whole tokenizer ({reason}); save or download it again") from error
    if tokens["input_ids"].shape[1] > longest:
        text = max(texts, key=len)
        raise InputError(f"{text!r}: longer than the {longest} tokens of {model.folder}; shorten the class or template")
    if tokens["input_ids"].max() >= config.text_config.vocab_size:
        raise InputError(f"{model.folder}: the tokenizer is another model's; save or download both again")
    return model.model.get_text_features(**tokens.to(model.device)).pooler_output.float().cpu().numpy()


def class_vectors(classes: Sequence[str], templates: Sequence[str], model: Foundation) -> np.ndarray:
    """A vector for each class, `[classes, D]`: the mean direction of its sentences, as long as the model's temperature.

    The temperature is the model's own, which its training found; SigLIP's bias is the same for all classes, so that
    probabilities that sum to 1 do not depend on it.

    Raises
    ------
    InputError
        If there are no templates, and as `sentences` and `embed_texts`.
    """
    if isinstance(templates, str) or not templates:
        raise InputError("zero_shot: templates must be a list of sentences, such as ['a photo of {a class}']")
    scale = getattr(model.model, TEXTS[model.model.config.model_type].scale).float().exp().item()
    directions = [_unit(embed_texts(sentences(name, templates), model)).mean(axis=0) for name in classes]
    return scale * _unit(np.stack(directions))


def probabilities(embeddings: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Probabilities float32 `[..., classes]` of embeddings `[..., D]`, by the vectors of `class_vectors`."""
    logits = _unit(embeddings) @ vectors.T
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
