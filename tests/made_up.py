"""Made-up runs: a table of clips and predictions with as many right clips as wanted."""

from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = {
    "airport": "indoor", "bus": "transportation", "metro": "transportation", "metro_station": "indoor",
    "park": "outdoor", "public_square": "outdoor", "shopping_mall": "indoor", "street_pedestrian": "outdoor",
    "street_traffic": "outdoor", "tram": "transportation",
}  # fmt: skip
CITIES = ["barcelona", "helsinki", "lisbon", "london", "lyon", "milan", "paris", "prague", "stockholm", "vienna"]
MEMBERS = {
    "audio_spectrogram": ["mel", "gam", "cqt", "mel.strict", "gam.strict", "cqt.strict"],
    "audio_embedding": ["Cnn14", "MobileNetV1", "Res1dNet31", "ResNet38", "Wavegram_Logmel_Cnn14"],
    "visual_image": ["Xception", "VGG19", "ResNet50", "InceptionV3", "MobileNetV2", "DenseNet121", "NASNetLarge"],
    "visual_embedding": ["Xception", "VGG19", "ResNet50", "InceptionV3", "MobileNetV2", "DenseNet121", "NASNetLarge"],
    "audio_visual": ["MobileNetV2", "MobileNetV2.scratch"],
    "dcase_baseline": ["audio", "visual", "early", "official"],
}
CLASSIFIERS = [f"{family}/{member}" for family, members in MEMBERS.items() for member in members]
SPECTROGRAMS = [f"audio_spectrogram/{kind}" for kind in ("mel", "gam", "cqt")]
TOP3 = [f"visual_image/{network}" for network in ("DenseNet121", "InceptionV3", "NASNetLarge")]
ENSEMBLES = {
    "audio_spectrograms": SPECTROGRAMS,
    "audio_embeddings": [f"audio_embedding/{member}" for member in MEMBERS["audio_embedding"]],
    "audio_best": [*SPECTROGRAMS, "audio_embedding/Cnn14"],
    "visual_images": [f"visual_image/{member}" for member in MEMBERS["visual_image"]],
    "visual_embeddings": [f"visual_embedding/{member}" for member in MEMBERS["visual_embedding"]],
    "visual_top3": TOP3,
    "mel_inception": ["audio_spectrogram/mel", "visual_image/InceptionV3"],
    "all_models": [*SPECTROGRAMS, *TOP3],
    "all_models_joint": [*SPECTROGRAMS, *TOP3, "audio_visual/MobileNetV2"],
}
RULES = ("mean", "prod", "max")
REPORT_OPTIONS = {
    "fused": "predictions/fuse/{ensemble}-{rule}.npy",
    "history": "history/{classifier}.csv",
    "weights": "weights/{ensemble}.csv",
    "calibrate": Path("metrics/calibrate.csv"),
    "early_exit": Path("metrics/early_exit.csv"),
    "early_exit_chosen": Path("metrics/early_exit_chosen.csv"),
    "early_exit_classes": Path("metrics/early_exit_classes.csv"),
    "disturbed": Path("metrics/robustness.csv"),
    "needs": "needs/{kind}.csv",
}


def write_split(clips: int, places: int, validation: int = 0) -> np.ndarray:
    """Write split.csv and classes.csv of so many clips, and return their class numbers.

    The clips at the first `validation` of the places are the validation fold, all others are evaluate clips.
    """
    location = np.arange(clips) % places
    labels = location % len(CLASSES)
    table = pd.DataFrame({"scene": np.array(list(CLASSES))[labels], "city": np.array(CITIES)[location // 10 % 10]})
    table["location"] = location.astype(str)
    table.insert(0, "clip", [f"{row.scene}-{row.city}-{row.location}-{number}" for number, row in
                             enumerate(table.itertuples())])  # fmt: skip
    table["fold"] = np.where(location < validation, "validation", "evaluate")
    table.assign(audio="a.wav", video="v.mp4").to_csv("split.csv", index=False)
    pd.DataFrame(CLASSES.items(), columns=["class", "meta_class"]).to_csv("classes.csv", index=False)
    return labels


def predicted(labels: np.ndarray, right: int, seed: int, same_meta_class: int = 0) -> np.ndarray:
    """Class numbers of which exactly `right` are those of `labels`; of the others, so many share the meta-class."""
    generator = np.random.default_rng(seed)
    wrong = generator.permutation(len(labels))[right:]
    meta = np.array(list(CLASSES.values()))
    result = labels.copy()
    for number, clip in enumerate(wrong):
        same = meta == meta[labels[clip]]
        candidates = np.flatnonzero(same if number < same_meta_class else ~same)
        result[clip] = generator.choice(candidates[candidates != labels[clip]])
    return result


def probabilities(classes: np.ndarray, seed: int, seconds: tuple[int, ...] = ()) -> np.ndarray:
    """Predictions `[clips, *seconds, 10]` whose most probable class is as given."""
    generator = np.random.default_rng(seed)
    noise = generator.dirichlet(np.ones(10), (len(classes), *seconds))
    certain = np.eye(10)[classes].reshape(len(classes), *(1 for _ in seconds), 10)
    return (0.4 * noise + 0.6 * certain).astype(np.float32)


def write(path: str, array: np.ndarray) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def write_history(path: str, epochs: int = 5) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    rising = 1 - 0.8 ** np.arange(1, epochs + 1)
    table = {"epoch": np.arange(1, epochs + 1), "accuracy": rising, "loss": 1 - rising, "val_accuracy": rising / 2}
    pd.DataFrame({**table, "val_loss": 1 - rising / 2, "lr": 1e-4}).to_csv(path, index=False)


def write_needs(**first: float) -> None:
    """Write of each kind of spectrogram what its patches need, the first one so many seconds."""
    Path("needs").mkdir(exist_ok=True)
    for kind, seconds in first.items():
        table = pd.DataFrame({"second": range(1, 11), "needs": seconds + 0.896 * np.arange(10)})
        table.to_csv(REPORT_OPTIONS["needs"].format(kind=kind), index=False)


def report_arguments(out: str = "metrics") -> list[str]:
    """The arguments of stages/report.py for a run in this folder."""
    classifiers = [f"{family}/{','.join(members)}" for family, members in MEMBERS.items()]
    ensembles = [f"{name}={','.join(members)}" for name, members in ENSEMBLES.items()]
    return [
        "split.csv", "classes.csv", f"{out}/early_detect.csv", f"{out}/seeds.csv",
        f"{out}/README.md", f"{out}/{{figure}}.svg", f"{out}/{{table}}.csv",
        "predictions/{classifier}.npy", *classifiers, *ensembles,
        *(word for option, value in REPORT_OPTIONS.items() for word in (f"--{option}", str(value))),
    ]  # fmt: skip
