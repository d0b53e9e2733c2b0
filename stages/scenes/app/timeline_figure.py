"""The timeline as a figure: pictures, stacked probabilities and the MEL spectrogram over time."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scenes.app.timeline import Timeline
from scenes.features import spectrogram
from scenes.media.clip import ten_seconds
from scenes.media.stream import Window
from scenes.reporting.colours import of_classes
from scenes.stage.outputs import writing

PICTURES = 12
KEPT = 600  # seconds, of a longer file every second, fourth, ... one
COLUMNS = 10  # of the spectrogram, a second
LEGEND_ROWS = 25


class Sketch:
    """Pictures and spectrogram of the seconds of a file, thinned so that an hour takes no more room than minutes."""

    def __init__(self, mel: dict[str, Any]):
        self.mel, self.stride = mel, 1
        self.pictures: dict[int, np.ndarray] = {}
        self.spectra: dict[int, np.ndarray] = {}

    def add(self, window: Window, first: int, stop: int) -> None:
        """Keep what a window shows of the seconds from `first` to before `stop`."""
        wanted = [second for second in range(first, stop) if second % self.stride == 0]
        for second in wanted:
            if window.pictures is not None and window.unseen <= second - window.start < len(window.pictures):
                self.pictures[second] = window.pictures[second - window.start]
        if window.sound is not None and wanted:
            whole = spectrogram.mel(ten_seconds(window.sound, self.mel["sample_rate"]), **self.mel).mean(axis=0)
            for second in wanted:
                frames = (second - window.start + np.arange(COLUMNS) / COLUMNS) * self.mel["sample_rate"]
                columns = np.minimum((frames / self.mel["hop"]).round().astype(int), whole.shape[1] - 1)
                if (second - window.start) * self.mel["sample_rate"] < window.sound.shape[1]:
                    self.spectra[second] = whole[:, columns].astype(np.float16)
        while max(len(self.pictures), len(self.spectra)) > KEPT:
            self.stride *= 2
            for kept in (self.pictures, self.spectra):
                for second in [second for second in kept if second % self.stride]:
                    del kept[second]

    def draw(self, timeline: Timeline, path: Path) -> None:
        """Write the figure, in the format of the file's ending."""
        seconds = timeline.seconds
        length = len(seconds)
        figure = Figure(figsize=(10, 6), layout="constrained")
        top, middle, bottom = figure.subplots(3, sharex=True, height_ratios=[1, 3, 2])
        width = length / PICTURES
        for place in range(PICTURES) if self.pictures else ():
            nearest = min(self.pictures, key=lambda second: abs(second + 0.5 - (place + 0.5) * width))
            top.imshow(self.pictures[nearest], extent=(place * width, (place + 1) * width, 0, 1), aspect="auto")
        top.set(ylim=(0, 1), yticks=[], ylabel="video" if self.pictures else "no video")
        ends = np.append(seconds, seconds[-1:], axis=0).T
        colours = of_classes(len(timeline.classes))
        middle.stackplot(np.arange(length + 1), ends, step="post", labels=timeline.classes, colors=colours)
        middle.set(ylim=(0, 1), ylabel="probability")
        handles, names = middle.get_legend_handles_labels()
        columns = -(-len(names) // LEGEND_ROWS)
        figure.legend(handles[::-1], names[::-1], loc="outside right center", frameon=False, ncols=columns)
        low, high = self._range() if self.spectra else (0, 1)
        for second, columns in self.spectra.items():
            extent = (second, second + self.stride, 0, len(columns))
            bottom.imshow(columns, extent=extent, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
        bottom.set(xlim=(0, length), xlabel="seconds", ylabel="MEL band" if self.spectra else "no sound")
        with writing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=100)

    def _range(self) -> tuple[float, float]:
        low, high = np.percentile(np.concatenate(list(self.spectra.values()), axis=1).astype(np.float32), [1, 99.5])
        return float(low), float(high)
