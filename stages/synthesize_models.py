"""Make the demo's foundation models: the architectures of the published ones, narrow, seeded and untrained."""

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from scenes.demo import tokenizers
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.options import Seed

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURE = {"image_size": 32, "patch_size": 16}
SQUARE = {"height": 32, "width": 32}


def models(library: Any) -> dict[str, Callable[[], tuple[Any, ...]]]:
    """Of each model's name, a function that makes it, the processor of its inputs and, of text, its tokenizer.

    All are classes of Transformers.
    """
    t = library
    clip, siglip2, clap = tokenizers.clip(t), tokenizers.siglip2(t), tokenizers.clap(t)
    return {
        "CLIP": lambda: (
            t.CLIPModel(t.CLIPConfig(text_config=_text(clip), vision_config=SMALL | PICTURE, projection_dim=24)),
            t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE),
            clip,
        ),
        "SigLIP2": lambda: (
            t.SiglipModel(t.SiglipConfig(text_config=_text(siglip2), vision_config=SMALL | PICTURE)),
            t.SiglipImageProcessorPil(size=SQUARE),
            siglip2,
        ),
        "DINOv2": lambda: (
            t.Dinov2Model(t.Dinov2Config(**{**SMALL, **PICTURE}, mlp_ratio=2)),
            t.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=SQUARE),
        ),
        "CLAP": lambda: (
            t.ClapModel(
                t.ClapConfig(
                    text_config=_text(clap, 2),
                    audio_config={
                        "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
                        "hidden_size": 32, "num_hidden_layers": 2,
                    },
                    projection_dim=24,
                )
            ),
            t.ClapFeatureExtractor(truncation="rand_trunc"),
            clap,
        ),
        "AST": lambda: (t.ASTModel(t.ASTConfig(**SMALL)), t.ASTFeatureExtractor()),
    }  # fmt: skip


def _text(tokenizer: Any, more: int = 0) -> dict[str, int]:
    """Numbers of the part of a model that reads what a tokenizer gives, with a few `more` positions."""
    positions = tokenizer.model_max_length + more
    return {
        **SMALL, **tokenizers.ids(tokenizer), "vocab_size": len(tokenizer), "max_position_embeddings": positions
    }  # fmt: skip


def main(out: Path, seed: Seed = 0) -> None:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", "At least one mel filter")  # of AST, as it is published
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already, and not empty; remove it or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as temporary:
        for name, make in models(transformers).items():
            torch.manual_seed(seed)
            model, *processors = make()
            folder = Path(temporary, out.name, name)
            model.eval().save_pretrained(folder)
            for processor in processors:
                processor.save_pretrained(folder)
        os.replace(Path(temporary, out.name), out)


if __name__ == "__main__":
    run(main)
