"""Write the parts of the pipeline that follow from params.yaml and from the code.

From params.yaml follow the stages that name many classifiers: DVC repeats a stage for each entry of a section, but
cannot make all entries dependencies of one stage. From the code follow the modules that each stage depends on. Numbers
stay in params.yaml: the same pipeline serves every params.yaml that has the same classifiers and ensembles.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby, product
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from scenes.dependencies import modules
from scenes.ensembles import SECTIONS, classifiers, disturbed, ensembles
from scenes.evaluation.fusion import LEARNED, RULES
from scenes.evaluation.predictions import without_families
from scenes.stage.cli import run
from scenes.stage.errors import InputError
from scenes.stage.outputs import writing
from scenes.systems import FAMILIES, WITH_UNIT, ZERO_SHOT, section_of

MARK = "  # Generated from params.yaml and stages/pipeline.yaml by make dvc.yaml; do not edit below.\n"
TEMPLATE = Path(__file__).with_suffix(".yaml")
FILES = ("dvc.yaml", "data/demo/dvc.yaml", "data/robustness/dvc.yaml", "data/tau/dvc.yaml")
VARIANTS = {"audio_spectrogram": ".strict", "audio_visual": ".scratch"}  # which each member of the family has too
BASELINE = [f"dcase_baseline/{system}" for system in ("audio", "visual", "early", "official")]
FIG_4 = ["audio_spectrogram/cqt", "audio_spectrogram/gam", "audio_spectrogram/mel",
         "visual_image/NASNetLarge", "visual_image/DenseNet121", "visual_image/InceptionV3"]  # fmt: skip
FIG_4_FUSED = ["audio_spectrograms", "visual_top3", "mel_inception", "all_models"]

# Of a name, the values that take its place; of each value, what other names stand for beside it.
Names = dict[str, list[str] | dict[str, dict[str, list[str]]]]


def main(
    params: Annotated[Path, typer.Argument(help="params.yaml, beside dvc.yaml")] = Path("params.yaml"),
) -> None:
    try:
        numbers = yaml.safe_load(params.read_text(encoding="utf-8"))
        of_params = classifiers(numbers), ensembles(numbers), disturbed(numbers)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{params}: is not YAML: {' '.join(str(error).split())}") from error
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{params}: a section is missing or empty ({error}); take it from the project's own"
        ) from error
    except InputError as error:
        raise InputError(f"{params}: {error}") from error
    names = _names(numbers, *of_params)
    template = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    for path, content in ((params.parent / file, template.get(file)) for file in FILES):
        text, mark, _ = path.read_text(encoding="utf-8").partition(MARK)
        if content:
            if not mark:
                raise InputError(f"{path}: lacks the line '{MARK.strip()}'; take the file from the project's own")
            generated = yaml.dump(_expanded(content, names), Dumper=_Dumper, sort_keys=False, width=80)
            text += mark + generated.removeprefix("stages:\n")
        with writing(path) as temporary:
            temporary.write_text(_with_modules(text), encoding="utf-8")


def _with_modules(text: str) -> str:
    """A dvc.yaml whose stages depend on the modules that their scripts import, listed below the script."""
    commands = {name: str(stage.get("do", stage)["cmd"]) for name, stage in yaml.safe_load(text)["stages"].items()}

    def of_stage(match: re.Match) -> str:
        def of_script(line: re.Match) -> str:
            command, script = commands.get(match[1], ""), line[2]
            lines = modules(command) if script in command else []
            return "\n".join(f"{line[1]}{path}" for path in (script, *lines)) + "\n"

        return re.sub(r"^( +- )(stages/\w+\.py)\n(?:\1stages/scenes/\S+\n)*", of_script, match[0], flags=re.MULTILINE)

    return re.sub(r"^  ([\w<>-]+):\n(?:(?!  [\w<>-]+:\n).*\n)*", of_stage, text, flags=re.MULTILINE)


def _names(params: dict[str, Any], known: list[str], fused: dict[str, list[str]], again: dict[str, list[str]]) -> Names:
    predicted: dict[str, list[str]] = {}
    for family, names in groupby(known, key=lambda name: name.split("/")[0]):
        predicted[family] = list(names)
        predicted[family] += [name + VARIANTS[family] for name in predicted[family] if family in VARIANTS]
    predicted["dcase_baseline"] = BASELINE
    trained = {family: [name for name in names if not name.endswith(".strict")] for family, names in predicted.items()}
    with_history = {family: names for family, names in trained.items() if getattr(FAMILIES.get(family), "epochs", True)}

    drawn = {ensemble: fused[ensemble] for ensemble in FIG_4_FUSED if ensemble in fused}
    curves = {name: name.split("/")[1] for name in FIG_4 if name in known}
    curves |= {name: name for members in drawn.values() for name in members if name not in curves}
    starts = {"openl3.audio": [BASELINE[0], *BASELINE[2:]], "openl3.visual": BASELINE[1:]}
    units: dict[str, list[str]] = {}
    for family in (family for family in SECTIONS if family in trained):
        for name in trained[family]:
            member = name.removesuffix(".scratch").split("/")[1]
            section = section_of(params, f"{family}/{member}")
            if "pretrained" in params[section][member]:
                starts.setdefault(f"{section}.{member}", []).append(name)
            if any(feature.partition("/")[0] in WITH_UNIT for feature in FAMILIES[family].features):
                own = "audio_embedding" if section == "audio" else f"{section}.{member}"
                units.setdefault(own, []).append(name)
    members = list(dict.fromkeys(name for names in again.values() for name in names))
    return {
        "classifier": known,
        "kind": list(params["spectrogram"]),
        "rule": [*RULES, *LEARNED],
        "predicted": [name for names in predicted.values() for name in names],
        "trained": [name for names in with_history.values() for name in names],
        "family": {family: {"trained": names} for family, names in with_history.items()},
        "of_family": [without_families(names) for names in predicted.values()],
        "ensemble": {ensemble: {"member": names} for ensemble, names in fused.items()},
        "fused": [name for name in known if any(name in names for names in fused.values())],
        "as_list": [f"{ensemble}={without_families(names)}" for ensemble, names in fused.items()],
        "source": list(curves),
        "curve": [
            *(f"{curve}=data/predictions/{name}.npy" for name, curve in curves.items()),
            *(f"{ensemble}={','.join(curve for name, curve in curves.items() if name in names)}"
              for ensemble, names in drawn.items()),
        ],
        "start": [f"{without_families(names)}=${{{entry}.pretrained}}" for entry, names in starts.items()],
        "unit": [f"{without_families(names)}=${{{entry}.unit}}" for entry, names in units.items()],
        "disturbed": members,
        "disturbed_kind": [name.split("/")[1] for name in members if name.startswith("audio_spectrogram/")],
        "disturbed_network": [name.split("/")[1] for name in members if name.startswith("visual_image/")],
        **{family: list(params[family]) for family in ZERO_SHOT},
        "disturbed_as_list": [f"{ensemble}={without_families(names)}" for ensemble, names in again.items()],
    }  # fmt: skip


def _expanded(node: Any, names: Names) -> Any:
    """A part of the template with its names replaced, and repeated for each value of them."""
    match node:
        case dict():
            return {key: _expanded(value, inner) for name, value in node.items() for key, inner in _each(name, names)}
        case list():
            return [entry for part in node for entry in _entries(part, names)]
        case str():
            return " ".join(word for part in node.split() for word, _ in _each(part, names))
    return node


def _entries(part: str | dict[str, Any], names: Names) -> list[Any]:
    """An entry of a list in the template, repeated: a path, or a path with its settings."""
    if isinstance(part, dict):
        return [{path: settings} for path, settings in _expanded(part, names).items()]
    return [path for path, _ in _each(part, names)]


def _each(text: str, names: Names) -> Iterator[tuple[str, Names]]:
    """A text with each combination of values in place of the names in it, and what names stand for beside it."""
    found = list(dict.fromkeys(re.findall(r"<(\w+)>", text)))
    for values in product(*(names[name] for name in found)):
        chosen, inner = dict(zip(found, values, strict=True)), dict(names)
        for name, value in chosen.items():
            if isinstance(names[name], Mapping):
                inner |= names[name][value]
            inner[name] = [value]
        yield re.sub(r"<(\w+)>", lambda match, chosen=chosen: chosen[match[1]], text), inner


class _Dumper(yaml.SafeDumper):
    """Lists are indented, commands are folded."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def represent_str(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > 90 else None)


_Dumper.add_representer(str, _Dumper.represent_str)

if __name__ == "__main__":
    run(main)
