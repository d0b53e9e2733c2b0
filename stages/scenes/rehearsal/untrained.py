"""Foundation models of the published sizes with random weights, for machines that the published weights are not on.

They take the memory, the disk space and the time of the published ones.
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenes.demo import tokenizers


def _clip(t: Any) -> tuple[Any, ...]:
    tokenizer = tokenizers.clip(t)
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "hidden_act": "gelu"}
    vision = {"patch_size": 16, "hidden_act": "gelu"}
    config = t.CLIPConfig(text_config=text | tokenizers.ids(tokenizer), vision_config=vision, projection_dim=512)
    return t.CLIPModel(config), t.CLIPImageProcessorPil(), tokenizer


def _siglip2(t: Any) -> tuple[Any, ...]:
    tokenizer = tokenizers.siglip2(t)
    config = t.SiglipConfig(text_config={"vocab_size": 256_000} | tokenizers.ids(tokenizer))
    processor = t.SiglipImageProcessorPil(resample=2, size={"height": 224, "width": 224})
    return t.SiglipModel(config), processor, tokenizer


def _dinov2(t: Any, **size: int) -> tuple[Any, ...]:
    return t.Dinov2Model(t.Dinov2Config(image_size=518, **size)), t.BitImageProcessorPil(size={"shortest_edge": 256})


def _clap(t: Any) -> tuple[Any, ...]:
    return t.ClapModel(t.ClapConfig()), t.ClapFeatureExtractor(truncation="rand_trunc"), tokenizers.clap(t)


def _ast(t: Any) -> tuple[Any, ...]:
    return t.ASTModel(t.ASTConfig()), t.ASTFeatureExtractor()


# Of a name on the hub, what makes the model, the processor of its inputs and, where it reads text, a tokenizer of
# Transformers' classes. What is not named is the default of the class, which is that of the base sizes.
PUBLISHED: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K": _clip,
    "google/siglip2-base-patch16-224": _siglip2,
    "facebook/dinov2-base": _dinov2,
    "facebook/dinov2-small": lambda t: _dinov2(t, hidden_size=384, num_attention_heads=6),
    "laion/clap-htsat-unfused": _clap,
    "MIT/ast-finetuned-audioset-10-10-0.4593": _ast,
}


def size_of(model: str) -> int:
    """Bytes of a published model's weights in float32, text tower included."""
    import torch
    import transformers

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 4 * sum(weights.numel() for weights in PUBLISHED[model](transformers)[0].parameters())


def stand_in(model: str, folder: Path) -> None:
    """Save a model of a published size with random weights to a folder in Transformers' layout.

    Does nothing if the folder is there, the model is none of `PUBLISHED`, or the disk has no room for it.
    """
    import torch
    import transformers

    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() or model not in PUBLISHED or shutil.disk_usage(folder.parent).free < size_of(model):
        return
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter")  # of AST, as it is published
        torch.manual_seed(0)
        for part in PUBLISHED[model](transformers):
            part.save_pretrained(Path(temporary, folder.name))
        Path(temporary, folder.name).rename(folder)
