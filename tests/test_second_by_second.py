"""What the commands themselves hear and see of odd recordings, second by second: classify.py and the stages.

The members that classify.py is given here say which second they hear or see, as a class of that name.
"""

import json
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest
from conftest import run
from odd_recordings import CASES, heard, seen

from scenes.app.members import DATASET_RATE, Member, Run
from scenes.learning.backend import keras

CLASSES = ["-", *map(str, range(60))]


def listener(name: str, medium: str, say) -> Member:
    """A member whose most probable class is what `say` makes of each of ten seconds."""

    def inputs(ten: np.ndarray) -> np.ndarray:
        return np.eye(len(CLASSES), dtype=np.float32)[[CLASSES.index(word) for word in say(ten).split()]]

    network = keras.Sequential([keras.Input((len(CLASSES),)), keras.layers.Activation("linear")])
    return Member(name, [medium], inputs, network, np.arange(1.0, 11.0))


@pytest.fixture(scope="module")
def members():
    return [listener("ear", "audio", partial(heard, rate=DATASET_RATE)), listener("eye", "video", seen)]


def said(seconds: list[list[float] | None]) -> str:
    """The classes of a member's seconds: `-` where it says nothing, but after the last of them it is over."""
    words = ["-" if row is None else CLASSES[np.argmax(row)] for row in seconds]
    last = max((number for number, row in enumerate(seconds, 1) if row), default=0)
    return " ".join(words[:last])


@pytest.mark.parametrize("name", CASES)
def test_classify_hears_and_sees_every_second(name, members, monkeypatch):
    make, sound, sight, notes = CASES[name]
    path = make()
    params = {"dataset": {"setup": "mine"}, "frames": {"size": 32}}
    monkeypatch.setattr("scenes.app.members.read_run", lambda folder: Run(Path(), params, {}))
    monkeypatch.setattr(Run, "classes", CLASSES)
    monkeypatch.setattr("scenes.app.members.load", lambda run, names, classes: members)
    result = run("classify.py", path, "--member", "ear", "--member", "eye", "--json", "a.json")
    assert result.returncode == 0, result.stderr
    (content,) = json.loads(Path("a.json").read_text())["files"]
    assert sound is None or said(content["members"]["ear"]["seconds"]) == sound
    assert said(content["members"]["eye"]["seconds"]) == sight
    assert all(note in line for note, line in zip(notes, content["warnings"], strict=True))
    assert result.stderr.splitlines() == [f"warning: {path}: {line}" for line in content["warnings"]]


def in_spectrogram(picture: np.ndarray) -> str:
    """The second that the loudest mel band of each second says."""
    centres = librosa.mel_frequencies(picture.shape[1] + 2, fmin=10.0, fmax=24_000.0)[1:-1]
    columns = np.arange(picture.shape[2]) * 672 / DATASET_RATE  # each is of what lies around this time
    words = []
    for second in range(10):
        loudness = picture[:, :, (columns > second + 0.25) & (columns < second + 0.75)].mean(axis=(0, 2))
        word = str(round(centres[loudness.argmax()] / 300 - 1))
        words.append(word if loudness.max() > np.log(0.1) else "-")
    return " ".join(words)


def ten(seconds: str) -> str:
    """The ten seconds of a clip: a longer one is cut, a shorter one repeated."""
    return " ".join((seconds.split() * 10)[:10])


@pytest.mark.parametrize("name", CASES)
def test_the_stages_hear_and_see_every_second(name, monkeypatch):
    monkeypatch.setenv("SCENES_WORKERS", "1")
    make, sound, sight, notes = CASES[name]
    path, lines = make(), ""
    Path("media.csv").write_text(f"clip,audio,video\na,{path if sound != '' else ''},{path if sight else ''}\n")
    if sound != "":
        result = run("spectrogram.py", "mel", "media.csv", "mel.npy")
        assert result.returncode == 0, result.stderr
        lines += result.stderr
        if sound and "truncated" not in name:  # repeated from within a second, its tones are elsewhere
            assert in_spectrogram(np.load("mel.npy")[0].astype(np.float32)) == ten(sound)
    if sight:
        result = run("frames.py", "media.csv", "frames.npy", "--size", "32")
        assert result.returncode == 0, result.stderr
        lines += result.stderr
        first = next(word for word in sight.split() if word != "-")
        assert seen(np.load("frames.npy")[0]) == ten(sight.replace("-", first))
    for note in notes:  # a clip ends before the leap; a track without a decoder is no track of the data set
        assert note in lines or "jump" in note or "no decoder" in note
