"""Tokenizers of the kinds of CLIP's, SigLIP 2's and CLAP's that spell: they know single characters, and no words.

Each is of Transformers' class of the published one, with its special tokens and what it puts around a text.
"""

from string import ascii_lowercase
from typing import Any


def clip(library: Any) -> Any:
    """Lower case, by bytes, of which the last of a word is another than the same byte within."""
    characters = _bytes()
    tokens = [*characters, *(f"{character}</w>" for character in characters), "<|startoftext|>", "<|endoftext|>"]
    return library.CLIPTokenizer(_numbered(tokens), [], model_max_length=77)


def siglip2(library: Any) -> Any:
    """Letters in lower case, and whatever else by bytes; it gives no mask, as SigLIP is trained without one."""
    hexadecimal = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *hexadecimal, "▁", *ascii_lowercase]
    return library.GemmaTokenizer(
        _numbered(tokens), [], add_bos_token=False, add_eos_token=True, padding_side="right",
        model_input_names=["input_ids"], model_max_length=64,
    )  # fmt: skip


def clap(library: Any) -> Any:
    """Bytes."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *_bytes(), "<mask>"]
    return library.RobertaTokenizer(_numbered(tokens), [], model_max_length=128)


def ids(tokenizer: Any) -> dict[str, int]:
    """Numbers of the special tokens, as the configuration of the part of a model that reads text has them."""
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}


def _bytes() -> list[str]:
    """The characters that stand for the 256 bytes."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}
