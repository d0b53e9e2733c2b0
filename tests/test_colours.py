"""Classes and lines are told apart, however many there are."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.figure import Figure

from scenes.app.timeline import Timeline
from scenes.app.timeline_figure import Sketch
from scenes.reporting.colours import line_style, of_classes, oklab
from scenes.reporting.figures import training_curves

TEN = [matplotlib.colors.to_hex(colour) for colour in matplotlib.colormaps["tab10"].colors]


def gap(colours: list[str]) -> float:
    """The smallest distance between two colours."""
    points = oklab(np.array([matplotlib.colors.to_rgb(colour) for colour in colours]))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    return distances[~np.eye(len(colours), dtype=bool)].min()


@pytest.mark.parametrize("count", [3, 10, 30, 40])
def test_classes_have_colours_as_far_apart_as_the_first_ten(count):
    colours = of_classes(count)
    assert len(set(colours)) == count and colours[:10] == TEN[:count]
    assert gap(colours) > 0.95 * gap(TEN)


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are written."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: (figures.append(figure), Path(path).touch()))
    return figures


def test_thirty_classes_have_thirty_colours_in_the_timeline(drawn):
    names = [f"class {number}" for number in range(30)]
    members = np.full((1, 4, 30), 1 / 30, np.float32)
    Sketch({}).draw(Timeline("a.mp4", names, ["mel"], "prod", members, 4, None), Path("timeline.png"))
    stack = drawn[0].axes[1].collections
    assert len(stack) == 30 and len({tuple(area.get_facecolor()[0]) for area in stack}) == 30
    drawn[0].draw_without_rendering()
    legend, whole = drawn[0].legends[0].get_window_extent(), drawn[0].bbox
    assert whole.y0 <= legend.y0 and legend.y1 <= whole.y1


def test_the_page_takes_its_colours_from_there_too():
    player, page = (ROOT / "stages" / name for name in ("scenes/app/player.js", "serve.py"))
    assert "told.colours[c]" in player.read_text() and "#" not in player.read_text()
    assert '"colours": of_classes(len(timeline.classes))' in page.read_text()


def test_thirty_members_of_a_family_have_thirty_lines():
    assert len({tuple(line_style(number).values()) for number in range(49)}) == 49
    history = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.1, 0.2], "val_accuracy": [np.nan, np.nan]})
    figure = training_curves({"family": {f"member {number}": history for number in range(30)}})
    assert len({(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}) == 30
