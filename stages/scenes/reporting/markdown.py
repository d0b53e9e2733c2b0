"""Tables and figures in words, as Markdown that GitHub renders."""

from collections.abc import Iterable

import numpy as np

from scenes.evaluation.uncertainty import FEWEST

NOT_RUN = "not run"
TOO_FEW = "too few differing clips"
# Of a family's last word, what its members are beside the network that they are named after.
KINDS = {"_probe": "probe", "_foundation": "MLP on", "_module": "MLP on", "_zero_shot": "zero-shot"}


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table, every column aligned left: most cells are more than a number."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float, low: float = np.nan, high: float = np.nan, sign: str = "") -> str:
    """A fraction in per cent, and its interval: `72.2 [70.1, 74.3]`. With sign `+`, a difference in points."""
    if np.isnan(value):
        return "no clips"
    interval = "" if np.isnan(low) else f" [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
    return f"{100 * value:{sign}.1f}{interval}"


def nats(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """A log loss and its interval: `0.658 [0.601, 0.722]`."""
    if np.isnan(value):
        return "no clips"
    return f"{value:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def paired(difference: float, low: float, high: float, only_first: int, only_second: int, p_value: float) -> list[str]:
    """A paired comparison in three cells: difference and interval, clips that only the one got right, McNemar's p."""
    p_cell = f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"
    if only_first + only_second < FEWEST:
        p_cell = TOO_FEW
    return [percent(difference, low, high, "+"), f"{only_first} : {only_second}", p_cell]


def name(framework: str) -> str:
    """A framework's name in a table: `all_models` PROD, `mel`, `mel` strict, joint `VGG19`, probe `Cnn14`, ..."""
    family, _, member = framework.partition("/")
    if family == "fuse":
        ensemble, _, rule = member.rpartition("-")
        return f"`{ensemble}` {rule.upper().replace('_', '-')}"
    if family == "dcase_baseline":
        return f"baseline `{member}`"
    if family == "audio_visual":
        return f"joint `{member.removesuffix('.scratch')}`" + (" from scratch" if member.endswith(".scratch") else "")
    if family == "external":
        return f"external `{member}`"
    for ending, kind in KINDS.items():
        if family.endswith(ending):
            return f"{kind} `{member}`"
    return f"`{member.removesuffix('.strict')}`" + (" strict" if member.endswith(".strict") else "")


def full_name(framework: str) -> str:
    """A classifier's name and family, because families have members of the same name: visual probe `CLIP`."""
    family, title = framework.partition("/")[0], name(framework)
    for ending in KINDS:
        if family.endswith(ending):
            return f"{family.removesuffix(ending).replace('_', '-')} {title}"
    return title if title.startswith(f"{family} ") else f"{family} {title}"


def segments(first: dict[str, float]) -> str:
    """What the abscissa of Fig. 4 counts, from the seconds of the recording that each spectrogram's first patch needs.

    `one-second segments; the first needs 1.89 s of the recording for MEL and GAM, 3.58 s for CQT, 1.00 s for frames`
    """
    kinds: dict[str, list[str]] = {}
    for kind, seconds in first.items():
        kinds.setdefault(f"{seconds:.2f} s", []).append(kind.upper())
    kinds.setdefault("1.00 s", []).append("frames")
    needed = [f"{seconds} for {' and '.join(names)}" for seconds, names in kinds.items()]
    return f"one-second segments; the first needs {', '.join(needed)} of the recording"
