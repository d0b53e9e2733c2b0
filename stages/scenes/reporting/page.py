"""The report's page: what was measured, on what, and what it means, as Markdown beside its figures."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from scenes.dataset.tables import SECONDS
from scenes.evaluation.fusion import RULES
from scenes.evaluation.metrics import macro_log_loss
from scenes.evaluation.uncertainty import FEWEST
from scenes.reporting import fitted_sections as beyond
from scenes.reporting import modern_section, tables
from scenes.reporting.claims import CONTRADICTED, SUPPORTED, UNDECIDED, judged
from scenes.reporting.markdown import NOT_RUN, name, nats, paired, percent, table
from scenes.reporting.published import ALL_MODELS_META_ACCURACY, AUDIO_VISUAL, BASELINE, TABLE_VI, TABLE_VII
from scenes.reporting.results import NotRunError, Results

SYNTHETIC = """\
**The clips are synthetic: these figures show that the pipeline works. They say nothing about real scenes and are not
results of the paper.**
"""
UNTRAINED = """\
*untrained*: the network, or a member of the ensemble, started from random weights and not from those of ImageNet or
AudioSet.
"""


def page(
    results: Results,
    details: dict[str, pd.DataFrame],
    seeds: pd.DataFrame,
    dataset: str,
    synthetic: bool,
    untrained: Callable[[str], bool],
    figure: Callable[[str, str], str],
    robustness: str,
    abscissa: str,
) -> str:
    """Write the page.

    Parameters
    ----------
    results : Results
    details : dict
        The tables by_location, calibration, ensembles, baseline, joint, missed and budget of
        `scenes.reporting.tables`; against_prod of `scenes.reporting.fitted_sections`, and what it reads: calibrate,
        weights, early_exit_chosen, early_exit_classes.
    seeds : DataFrame
        metrics/seeds.csv.
    dataset : str
        The data set's name.
    synthetic : bool
        Whether its clips are.
    untrained : callable
        Whether a framework started from random weights where the paper's did not.
    figure : callable
        From a figure's name and its description to the Markdown that shows it.
    robustness : str
        The section of `scenes.reporting.robustness_section`.
    abscissa : str
        What the seconds of early detection are.

    Returns
    -------
    str
        Markdown.
    """

    def mark(framework: str) -> str:
        return " *untrained*" if untrained(framework) else ""

    ours = f"ours, {dataset}"
    published = {**TABLE_VI, **TABLE_VII, **AUDIO_VISUAL, **BASELINE}
    rest = tables.others(results, {*published, *modern_section.newer(results)})
    rows = judged(results)
    verdicts = Counter(row[-1] for row in rows)
    return f"""\
# Report

Data set: **{dataset}**. {len(results.clips)} evaluate clips of {SECONDS} s from {len(np.unique(results.places))}
locations in {results.clips["city"].nunique()} cities, {len(results.classes)} classes; {len(results.classifiers)}
classifiers and {len(results.ensembles)} ensembles, beside {len(results.baseline)} systems of the DCASE 2021 Task 1B
baseline.

{SYNTHETIC if synthetic else ""}
Accuracies are per cent of whole clips unless said otherwise, log losses nats, averaged over the classes. In brackets:
the 95 % interval of a bootstrap that draws whole locations, 2,000 times; it has no width where no clip, or every clip,
is right. *not run*: the prediction is not part of this run. The paper is
[Pham et al. 2021](https://arxiv.org/abs/2106.06840), its figures those of fold 1 of TAU Urban Audio-Visual Scenes 2021.
{UNTRAINED if any(map(untrained, results.right)) else ""}
## The paper's claims

Of {len(rows)} claims, {verdicts[SUPPORTED]} are supported on the {dataset}, {verdicts[CONTRADICTED]} are contradicted,
{verdicts[UNDECIDED]} are undecided and {verdicts[NOT_RUN]} could not be tested: missing runs.

A claim is supported if the 95 % interval lies wholly on its side of the threshold, contradicted if the interval lies
wholly on the other side, and undecided otherwise. A threshold that the paper quotes, such as 17.1 points, counts as
met by every figure that rounds to it. A claim of several parts is supported if every part is, and contradicted if one
part is. Fewer than {FEWEST} differing clips, or an interval without width, decide nothing. Differences are in points,
on the clips that both sides scored.

{table(["claim", "paper", "here", "verdict"], rows)}

## Audio (Table VI)

{tables.beside_paper(results, TABLE_VI, ours, mark, seeds)}

## Pictures (Table VII)

{tables.beside_paper(results, TABLE_VII, ours, mark, seeds)}

## Sound and pictures

{tables.beside_paper(results, AUDIO_VISUAL, ours, mark, seeds)}

Among the meta-classes, `all_models` PROD is right in {ALL_MODELS_META_ACCURACY} % in the paper and in
{_meta_accuracy(results)} % here.

### Frameworks that the paper's tables do not have

{tables.beside_paper(results, rest, ours, mark, seeds) if rest else "None."}

{modern_section.section(results, ours, mark)}
## One network for sound and pictures

VGG14 on MEL and an image network joined by the MLP and trained end to end, beside the two trained alone and the PROD of
these two: on the clips that both scored, with the paired interval, the clips that only the one got right, and McNemar's
exact test. It is better or worse where the interval leaves out 0 and p is below 0.05.

{_joint_table(details["joint"], mark)}

{_budget_text(details["budget"])}

## The DCASE baseline

The paper measures itself against the baseline of DCASE 2021 Task 1B: OpenL3's embeddings of sound, of pictures, of both
side by side (`early`), and two frozen nets joined (`official`). Here it is trained and scored on the same clips in the
same run; a clip's probability is the product over its frames, as its authors have it.

{tables.beside_baseline(results, ours, mark)}

The paper's best of each kind against it, clip by clip: the difference in points with its paired interval, the clips
that only the one got right, and McNemar's exact test.

{_baseline_table(details["baseline"])}
{_external_text(results)}
## Single seconds: DCASE's protocol

DCASE 2021 Task 1B scores each second without sight of its neighbours and ranks by the log loss. A patch of a
spectrogram hears 1.858 s, so the spectrogram networks also have a strict row: the second's own samples, zero-padded.
A row that says how much it hears is not strict; the joint network, audio embeddings of whole clips and predictions of
other systems (`external`) have no strict row, nor has an ensemble that holds one of them. All other classifiers are
strict as they are. An ensemble's row is the PROD fusion of its members' strict seconds.

{tables.one_second(results, ours, mark)}

## Does fusion help?

Each fusion against the best of its members: the difference in points with its paired interval, the clips that only the
one got right, and McNemar's exact test, which takes clips for independent and so errs towards finding a difference.

{_fusion_table(details["ensembles"])}

{beyond.learned_fusion(details["against_prod"], details["weights"])}

## Which scenes are hard

{figure("confusion_audio_best", "Confusion matrix of audio_best (the paper, Fig. 1)")}

{figure("confusion_visual_images", "Confusion matrix of visual_images (the paper, Fig. 2)")}

{figure("confusion_all_models", "Confusion matrix of all_models")}

{figure("classes", "Accuracy of each class (the paper, Fig. 3), with 95 % intervals")}

Every framework's accuracy and log loss by class, of clips and of single seconds: [by_class.csv](by_class.csv).

## Early detection (Fig. 4)

{figure("early_detect", "Accuracy after 1 to 10 segments, with 95 % intervals of the audio-visual ensembles")}

The abscissa is the paper's: {abscissa}. An ensemble waits for its slowest member.

{beyond.early_exit(details["early_exit_chosen"], details["early_exit_classes"], figure)}

{robustness}

## Is a probability to be believed?

{figure("reliability", "Reliability diagrams")}

The expected calibration error is the mean gap between confidence and accuracy over 15 bins; the Brier score runs from 0
to 2. Of every framework: [calibration.csv](calibration.csv).

{_calibration_table(results, details["calibration"])}

{beyond.temperatures(details["calibrate"])}

## Elsewhere: cities and locations

{tables.cities(results)}

{tables.locations(details["by_location"])}

Of every framework: [by_city.csv](by_city.csv), [by_location.csv](by_location.csv).

## What all classifiers miss

{figure("agreement", "How many classifiers are right on a clip")}

{_missed_text(results, details["missed"])}

## Training

{figure("training", "Accuracy by epoch")}

Training batches are mixed up and augmented by dropout, so their accuracy is that of harder samples; validation clips
come from locations held out of training, where there are any.
"""


def _meta_accuracy(results: Results) -> str:
    try:
        return percent(*tables.meta_accuracy(results, "fuse/all_models-prod"))
    except NotRunError:
        return NOT_RUN


def _fusion_table(against: pd.DataFrame) -> str:
    rows = [
        [name(f"fuse/{row.ensemble}-{row.rule}"), name(row.best_member), *paired(*row[-6:])]
        for row in against.itertuples()
    ]  # fmt: skip
    return table(["ensemble", "best member", "difference", "only ensemble : only member", "McNemar's p"], rows)


def _baseline_table(against: pd.DataFrame) -> str:
    rows = [[name(row.framework), name(row.baseline), *paired(*row[-6:])]
            for row in against.itertuples()]  # fmt: skip
    header = ["framework", "against", "difference", "only framework : only baseline", "McNemar's p"]
    return table(header, rows) if rows else "Not run."


def _external_text(results: Results) -> str:
    rows = [
        [name(f"fuse/{ensemble}-prod"), name(system),
         *paired(*tables.paired(results, results.of(f"fuse/{ensemble}-prod"), results.of(system))[1:])]
        for system in results.external for ensemble, members in results.ensembles.items()
        if system not in members and f"fuse/{ensemble}-prod" in results.fused
    ]  # fmt: skip
    header = ["ensemble", "against", "difference", "only ensemble : only other", "McNemar's p"]
    if not rows:
        return ""
    return f"""
## Predictions of other systems

PROD of each ensemble against each system of `external` that is not a member of it, on the clips that both predicted:
the difference in points with its paired interval, the clips that only one of the two got right, and McNemar's exact
test.

{table(header, rows)}
"""


def _joint_table(against: pd.DataFrame, mark: Callable[[str], str]) -> str:
    rows = [
        [name(row.joint) + mark(row.joint), "PROD of the two" if row.other == "prod" else name(row.other),
         f"{percent(row.joint_accuracy)} : {percent(row.other_accuracy)}",
         f"{nats(row.joint_log_loss)} : {nats(row.other_log_loss)}",
         *paired(*row[-6:]), beyond.verdict(row.low, row.high, row.p_value)]
        for row in against.itertuples()
    ]  # fmt: skip
    header = ["network", "against", "accuracy", "log loss", "difference", "only joint : only other", "McNemar's p",
              "the joint network is"]  # fmt: skip
    return table(header, rows) if rows else "Not run."


def _budget_text(trainings: pd.DataFrame) -> str:
    if trainings.empty:
        return ""
    names = {"single": "the two trained alone", "scratch": "scratch"}
    rows = [[name(row.network), names[row.start], row.sound, row.frames] for row in trainings.itertuples()]
    header = ["network", "starts from", "sound: epochs × seconds", "frames: epochs × seconds"]
    return f"""\
The training budget, in epochs and in seconds drawn from each train clip per epoch. A joint network that starts from the
two trained alone has had their training and its own: its rows do not compare at equal budgets. A joint network from
scratch compares at equal epochs with networks of as many epochs.

{table(header, rows)}"""


def _calibration_table(results: Results, errors: pd.DataFrame) -> str:
    figures = errors.query("protocol == 'clip'").set_index("framework")
    rows = []
    for framework in [*tables.MAIN, *(f"fuse/all_models-{rule}" for rule in RULES if rule != "prod")]:
        if framework not in figures.index:
            rows.append([name(framework), NOT_RUN, "", ""])
            continue
        row = figures.loc[framework]
        scored = ~np.isnan(results.of(framework))
        loss = macro_log_loss(results.labels[scored], results.probabilities[framework][scored])
        rows.append([name(framework), percent(row["calibration_error"]), f"{row['brier']:.3f}", nats(loss)])
    return table(["framework", "calibration error", "Brier", "log loss"], rows)


def _missed_text(results: Results, clips: pd.DataFrame) -> str:
    if not results.classifiers:
        return "Not run."
    right = results.right[results.classifiers]
    # Of classifiers as good as these whose errors fell on different clips.
    chance = (1 - right.mean()).prod() * len(right)
    text = f"""\
No classifier is right on {len(clips)} of {len(right)} clips; if their errors were independent, it would be
{chance:.1f}. So at least one is right on {percent(1 - len(clips) / len(right))} % of the clips: no choice among these
classifiers can do better. The clips that all miss: [missed.csv](missed.csv)."""
    if clips.empty:
        return text
    places = clips.assign(place=clips["city"] + "-" + clips["location"]).groupby(["scene", "place"], sort=False)
    worst = places.agg(clips=("clip", "count"), taken_for=("taken_for", lambda taken: taken.mode()[0]))
    worst = worst.reset_index().sort_values("clips", ascending=False, kind="stable")
    at = results.places
    rows = [
        [row.scene, row.place, f"{row.clips} of {((results.clips['scene'] == row.scene) & (at == row.place)).sum()}",
         row.taken_for]
        for row in worst.head(10).itertuples()
    ]  # fmt: skip
    return f"""{text}

They lie at {len(worst)} locations; the ten with most of them:

{table(["scene", "location", "clips", "mostly taken for"], rows)}"""
