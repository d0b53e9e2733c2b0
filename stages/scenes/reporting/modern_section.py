"""The report's section on members newer than the paper: beside the paper's best and what was published later."""

from collections.abc import Callable

import numpy as np

from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import macro_log_loss
from scenes.reporting.markdown import full_name, name, nats, paired, percent, table
from scenes.reporting.published import LATER, TABLE_VI, TABLE_VII
from scenes.reporting.results import Results
from scenes.reporting.tables import paired as compared
from scenes.reporting.tables import run_or_not, second_cells
from scenes.systems import media_of

# The paper's best of audio, of frames and of both, single classifiers and ensembles.
SINGLE = {("audio",): "audio_spectrogram/mel", ("video",): "visual_image/InceptionV3"}
FUSED = {("audio",): "fuse/audio_best-prod", ("video",): "fuse/visual_images-prod"}
BEST = "fuse/all_models-prod"
OF_PAPER = {name.partition("/")[0] for name in (*TABLE_VI, *TABLE_VII)}


def newer(results: Results) -> list[str]:
    """The classifiers of families that the paper does not have, and PROD of the ensembles that have one as a member."""

    def is_newer(classifier: str) -> bool:
        return classifier.partition("/")[0] not in OF_PAPER and classifier not in results.joint

    found = [classifier for classifier in results.classifiers if is_newer(classifier)]
    fused = [f"fuse/{ensemble}-prod" for ensemble, members in results.ensembles.items() if any(map(is_newer, members))]
    return [*found, *(ensemble for ensemble in fused if ensemble in results.fused)]


def section(results: Results, ours: str, mark: Callable[[str], str]) -> str:
    """The section's Markdown.

    Parameters
    ----------
    results : Results
    ours : str
        What our figures were measured on.
    mark : callable
        From a framework to a remark, which may be empty.
    """
    rows = [_row(results, framework, mark) for framework in newer(results)]
    header = ["framework", ours, "log loss", "single seconds", "log loss", "against", "difference",
              "only this : only that", "McNemar's p"]  # fmt: skip
    published = [
        [system.name, percent(system.accuracy / 100), "" if np.isnan(system.log_loss) else nats(system.log_loss)]
        for system in LATER
    ]
    return f"""\
## Members newer than the paper

Frozen foundation models with the MLP of Table II, linear probes, zero-shot classifiers, models and predictions from
elsewhere, and the PROD fusion of ensembles that have such members: accuracy and log loss of whole clips and of single
seconds, and the difference in points to the paper's best of the same media, with its paired interval, the clips that
only one of the two got right, and McNemar's exact test. What each costs is in
[benchmarks/README.md](../benchmarks/README.md#embeddings).

{table(header, rows) if rows else "Not run."}

Later systems on the same fold, as their authors report:

{table(["system", "accuracy", "log loss"], published)}
"""


def _row(results: Results, framework: str, mark: Callable[[str], str]) -> list[str]:
    ensemble = framework.removeprefix("fuse/").removesuffix("-prod")
    fused = ensemble in results.ensembles and framework.startswith("fuse/")
    members = results.ensembles[ensemble] if fused else [framework]
    media = tuple(sorted({medium for member in members for medium in media_of(member)}))
    wanted = [FUSED.get(media) if fused else None, SINGLE.get(media), BEST]
    best = next((each for each in wanted if each in results.probabilities), BEST)

    def seconds() -> tuple[str, str]:
        if fused:
            return second_cells(results, prod(results.members_seconds(ensemble, strict=True)))
        hears = results.hears(framework)
        accuracy, loss = second_cells(results, results.seconds[framework])
        return accuracy + (f" (hears {hears})" if hears else ""), loss

    scored = ~np.isnan(results.of(framework))
    loss = macro_log_loss(results.labels[scored], results.probabilities[framework][scored])
    return [
        name(framework) if fused else full_name(framework),
        percent(*results.accuracy(framework)) + mark(framework), nats(loss), *run_or_not(seconds, 2), name(best),
        *run_or_not(lambda: paired(*compared(results, results.of(framework), results.of(best))[1:]), 3),
    ]  # fmt: skip
