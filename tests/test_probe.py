"""Linear probes: scikit-learn's own solution, an L2 chosen on whole locations, predictions by the stage for all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from scenes.classifiers.probe import fit
from scenes.dataset.tables import hold_out, read_split
from scenes.stage.errors import InputError

CLASSES = ["airport", "bus", "park"]
SECONDS = 10


def made_up(clips: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings `[clips * 10, 8]` of different scales around a point for each class, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clips) % len(CLASSES), SECONDS)
    centres = np.random.default_rng(9).normal(size=(len(CLASSES), 8))
    embeddings = (centres[labels] + noise * generator.normal(size=(len(labels), 8))) * 10.0 ** np.arange(-3, 5) + 7
    return embeddings.astype(np.float32), labels


@pytest.mark.parametrize("strength", [1e-3, 1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_is_scikit_learn_on_standardised_embeddings(classes, strength):
    embeddings, labels = made_up(30, noise=1.0)
    some = labels < classes
    embeddings, labels = embeddings[some].astype(np.float64), labels[some]
    scaler = StandardScaler().fit(embeddings)
    theirs = LogisticRegression(C=1 / (strength * len(labels)), max_iter=5000, tol=1e-8)
    theirs.fit(scaler.transform(embeddings), labels)
    logarithms = fit(embeddings, labels, len(CLASSES), strength).logarithms(embeddings)
    expected = theirs.predict_log_proba(scaler.transform(embeddings))
    np.testing.assert_allclose(logarithms[:, :classes], expected, atol=2e-3)
    assert (np.exp(logarithms[:, classes:]) == 0).all()


def test_embeddings_that_can_be_told_apart_are(tmp_path):
    embeddings, labels = made_up(30, noise=0.01)
    unseen, expected = made_up(30, noise=0.01, seed=1)
    assert (fit(embeddings, labels, 3, 1e-3).logarithms(unseen).argmax(axis=1) == expected).all()


def test_a_number_that_never_varies_does_no_harm():
    embeddings, labels = made_up(9, noise=0.01)
    embeddings[:, 3] = 5.0
    probe = fit(embeddings, labels, 3, 1e-2)
    assert (probe.logarithms(embeddings).argmax(axis=1) == labels).all() and (probe.weights[3] == 0).all()


def test_one_class_cannot_be_told_apart():
    with pytest.raises(InputError, match="all train clips are of one class"):
        fit(np.ones((20, 4), np.float32), np.zeros(20, int), 3, 1.0)


def write(noise: float, locations: int = 4, validation: tuple[str, ...] = (), kind: str = "audio") -> np.ndarray:
    """split.csv, classes.csv and embeddings of 24 train and 12 evaluate clips; the evaluate clips' labels."""
    embeddings, labels = made_up(36, noise)
    labels = labels[::SECONDS]
    rows = [
        {"clip": f"{CLASSES[label]}-lyon-{place}-{number}", "scene": CLASSES[label], "city": "lyon", "location": place,
         "fold": "evaluate" if number >= 24 else "validation" if place in validation else "train",
         "audio": "a.wav" if kind == "audio" else "", "video": "a.mp4"}
        for number, label in enumerate(labels)
        for place in [f"{label}{number // 3 % locations}" if number < 24 else f"{label}9"]
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv("split.csv", index=False)
    pd.DataFrame({"class": CLASSES, "meta_class": ["indoor", "transportation", "outdoor"]}).to_csv(
        "classes.csv", index=False
    )
    np.save("embedding.npy", embeddings.reshape(36, SECONDS, -1))
    return labels[24:]


FILES = ("split.csv", "classes.csv", "embedding.npy", "probe.weights.h5")


@pytest.mark.parametrize("validation", [(), ("00", "10", "20")])
def test_the_stage_chooses_on_whole_locations_and_is_predicted_like_all(validation):
    labels = write(noise=1.5, validation=validation)
    strengths = [1e-4, 1e-2, 1.0, 100.0]
    options = [word for strength in strengths for word in ("--strengths", strength)]
    done = run("train_probe.py", "audio-probe", *FILES, "choice.csv", *options)
    assert done.returncode == 0, done.stderr
    choice = pd.read_csv("choice.csv")
    assert list(choice["strength"]) == strengths
    split, embeddings = read_split("split.csv"), np.load("embedding.npy")
    folds = split["fold"] if validation else hold_out(split, 0.2, 0)["fold"]
    numbers = split["scene"].map(CLASSES.index).to_numpy()

    def of(fold: str) -> tuple[np.ndarray, np.ndarray]:
        rows = np.flatnonzero(folds == fold)
        return embeddings[rows].reshape(-1, 8), np.repeat(numbers[rows], SECONDS)

    losses = []
    for strength in strengths:
        logarithms = fit(*of("train"), 3, strength).logarithms(of("validation")[0])
        losses.append(-logarithms[np.arange(len(logarithms)), of("validation")[1]].mean())
    np.testing.assert_allclose(choice["log_loss"], losses, rtol=1e-6)

    done = run("predict.py", "audio-probe", *FILES, "predictions.npy", "confusion.csv", "metrics.json")
    assert done.returncode == 0, done.stderr
    best = strengths[int(np.argmin(losses))]
    train = np.flatnonzero(split["fold"] == "train")
    chosen = fit(embeddings[train].reshape(-1, 8), np.repeat(numbers[train], SECONDS), 3, best)
    expected = np.exp(chosen.logarithms(embeddings[24:].reshape(-1, 8))).reshape(12, SECONDS, 3)
    np.testing.assert_allclose(
        np.load("predictions.npy")[-12:], expected, atol=1e-4
    )  # float32, of numbers around 7 of size 1e-3
    accuracy = (expected.mean(axis=1).argmax(axis=1) == labels).mean()
    assert json.loads(Path("metrics.json").read_text())["accuracy"] == pytest.approx(accuracy)


def test_what_cannot_be_fitted_is_one_line_and_nothing_is_written(tmp_path):
    write(noise=1.0, locations=1)
    done = run("train_probe.py", "audio-probe", *FILES, "choice.csv")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1, "error: split.csv: each class has a single train location, and none to choose the probe's L2 by"
    )  # fmt: skip
    write(noise=1.0, kind="video")
    done = run("train_probe.py", "audio-probe", *FILES, "choice.csv")
    assert done.stderr.splitlines()[-1] == "error: no train clip has audio: nothing to fit probe.weights.h5 to"
    assert not (tmp_path / "probe.weights.h5").exists() and not (tmp_path / "choice.csv").exists()


def test_a_clip_of_an_unknown_class_is_refused():
    write(noise=1.0)
    Path("classes.csv").write_text(f"class,meta_class\n{CLASSES[0]},x\n{CLASSES[1]},x\n")
    done = run("train_probe.py", "audio-probe", *FILES, "choice.csv")
    assert done.returncode == 1 and not Path("probe.weights.h5").exists()
    assert done.stderr.splitlines()[-1].startswith(f"error: class {CLASSES[2]!r} of {CLASSES[2]}-")
