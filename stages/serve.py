"""A local web page that classifies an uploaded video or audio file. Not a pipeline stage."""

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from scenes.app.members import load, members_of, read_run
from scenes.app.timeline import Timeline, follow
from scenes.app.timeline_figure import Sketch
from scenes.evaluation.fusion import RULES
from scenes.media.finding import SOUND_FILES, VIDEO_FILES
from scenes.reporting.colours import of_classes
from scenes.stage.cli import run
from scenes.stage.errors import InputError, one_line
from scenes.stage.outputs import write_json

CHECKOUT = Path(__file__).parents[1]
HOUR = 3600
ENDINGS = sorted(VIDEO_FILES | SOUND_FILES)  # by the types that Gradio knows it would refuse .mts, .caf and others
PLAYER = """<video controls playsinline style="width: 100%; max-height: 24em"></video>
<svg class="timeline" preserveAspectRatio="none" style="width: 100%; height: 8em; cursor: pointer"></svg><ol></ol>"""


def main(
    ensemble: Annotated[str, typer.Option(help="ensemble of dvc.yaml")] = "all_models",
    member: Annotated[list[str], typer.Option(help="classifiers instead of an ensemble: family/name, repeatable")] = (),
    rule: Annotated[Literal[*RULES], typer.Option(help="fusion rule")] = "prod",
    port: Annotated[int, typer.Option(help="port on this machine, 127.0.0.1", min=1, max=65_535)] = 7860,
    largest: Annotated[str, typer.Option(help="maximum upload size")] = "1gb",
    checkout: Annotated[Path, typer.Option(help="folder of params.yaml, dvc.yaml and data/models")] = CHECKOUT,
) -> None:
    if not find_spec("gradio"):  # said before the networks are loaded; imported only once the environment is set
        raise InputError("gradio: not installed; run make app, which installs it and starts the page")
    trained = read_run(checkout)
    members = load(trained, list(member) or members_of(trained, ensemble))
    with tempfile.TemporaryDirectory() as folder:  # of what is uploaded and made, gone when the page is closed
        os.environ.update(
            GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1"
        )
        page(trained, members, rule, Path(folder)).launch(
            server_name="127.0.0.1", server_port=port, max_file_size=largest, share=False, footer_links=[],
            theme=gradio_theme(),
        )  # fmt: skip


def page(trained, members: list, rule: str, folder: Path):
    """The page: a file goes in; player, timeline, figure, members and JSON come out."""
    import gradio  # only now: it reads the environment

    def classify(upload: str | None, progress=gradio.Progress()):  # noqa: B008
        if not upload:
            return None, None, None, None
        sketch, told, timeline = Sketch(trained.params["spectrogram"]["mel"]), 0, None
        try:
            for timeline in follow(upload, None, members, trained.classes, rule, trained.params["frames"]["size"]):
                sketch.add(timeline.window, told, timeline.members.shape[1])
                told = timeline.members.shape[1]
                progress(0.5, desc=f"{told} s")
        except Exception as error:  # whatever a file does to the libraries that read it
            fault = str(error) if isinstance(error, InputError) else f"{upload}: {type(error).__name__}: {error}"
            line = one_line(fault.replace(upload, Path(upload).name))
            raise gradio.Error(line, print_exception=False) from error
        figure, content = (Path(upload).with_name(name) for name in ("timeline.png", "timeline.json"))
        sketch.draw(timeline, figure)
        write_json(content, {"synthetic": trained.synthetic, **timeline.content(), "file": Path(upload).name})
        player = {
            "source": f"/gradio_api/file={upload}", "seconds": np.nan_to_num(timeline.seconds).tolist(),
            "classes": timeline.classes, "colours": of_classes(len(timeline.classes)),
        }  # fmt: skip
        for line in timeline.window.warnings:
            gradio.Warning(line)
        return player, _said(timeline), str(figure), str(content)

    with gradio.Blocks(title="Scene classification", delete_cache=(HOUR, HOUR)) as blocks:
        if trained.synthetic:
            gradio.Markdown("**Trained on synthetic clips (the demo): these results say nothing about real scenes.**")
        upload = gradio.File(label="Video or audio file", file_types=ENDINGS, type="filepath")
        player = gradio.HTML(
            html_template=PLAYER,
            js_on_load=(Path(__file__).parent / "scenes/app/player.js").read_text(encoding="utf-8"),
        )
        said = gradio.Dataframe(
            label="Prediction per member", headers=["member", "scene", "probability"], interactive=False
        )
        figure = gradio.Image(show_label=False, interactive=False)
        content = gradio.DownloadButton("Download the JSON")
        clips = sorted((trained.folder / trained.params["dataset"]["video"]).glob("*.mp4"))
        if trained.synthetic and clips:
            gradio.Examples([[str(clips[0])]], upload, label="Example from the demo set", cache_examples=False)
        upload.change(classify, upload, [player, said, figure, content])
    return blocks


def gradio_theme():
    """Gradio's plain theme with the fonts of the system: none are fetched from elsewhere."""
    import gradio

    return gradio.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"])


def _said(timeline: Timeline) -> list[list[str]]:
    rows = [[timeline.rule, *_best(timeline, timeline.overall)]]
    return rows + [[name, *_best(timeline, mean)] for name, mean in zip(timeline.names, timeline.means(), strict=True)]


def _best(timeline: Timeline, mean) -> list[str]:
    best = mean.argmax()
    return ["skipped", ""] if mean[best] != mean[best] else [timeline.classes[best], f"{mean[best]:.2f}"]


if __name__ == "__main__":
    run(main)
