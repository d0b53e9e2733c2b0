"""Disturbed clips are disturbed as much as stated, and scored beside the clean ones."""

import importlib
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import made_up
import numpy as np
import pandas as pd
import pytest
import scipy
import yaml
from conftest import ROOT, noise, write_mp4, write_wav

from scenes.evaluation.disturbed_scores import scored, seconds_used, under_conditions
from scenes.evaluation.fusion import prod
from scenes.evaluation.metrics import clip_probabilities, macro_log_loss
from scenes.features import spectrogram
from scenes.media import disturbance
from scenes.media.clip import read_audio
from scenes.reporting.robustness_section import section
from scenes.stage import cli
from scenes.stage.errors import InputError

SOUND = noise().astype(np.float32)
FRAMES = np.random.default_rng(5).integers(0, 256, (10, 60, 60, 3), np.uint8)
STAGES = {
    name: stage
    for file in ("dvc.yaml", "data/robustness/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}


class Ended(NamedTuple):
    returncode: int
    stderr: str


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script in this process, which has loaded what takes seconds."""
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)

    def script(name: str, *arguments: str) -> Ended:
        module = importlib.import_module(name.removesuffix(".py"))
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        names = ["mel", "gam", "cqt"] if name == "spectrogram.py" else ["main"]
        commands = getattr(module, "COMMANDS", None) or {name: getattr(module, name) for name in names}
        try:
            cli.run(**commands)
        except SystemExit as ended:
            return Ended(ended.code, capsys.readouterr().err)
        return Ended(0, capsys.readouterr().err)

    return script


def decibels(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)))


# Noise


@pytest.mark.parametrize("snr", [20.0, 10.0, 0.0, -5.5])
def test_the_signal_to_noise_ratio_is_the_one_asked_for(snr):
    for added in (disturbance.pink_noise(2, 480_000, np.random.default_rng(1)), 3 * SOUND[::-1]):
        noisy = disturbance.add_noise(SOUND, added, snr)
        assert noisy.dtype == np.float32 and noisy.shape == SOUND.shape
        assert decibels(SOUND) - decibels(noisy.astype(np.float64) - SOUND) == pytest.approx(snr, abs=0.01)


def test_pink_noise_falls_by_ten_decibels_a_decade_in_each_channel_of_its_own():
    pink = disturbance.pink_noise(2, 480_000, np.random.default_rng(2))
    assert pink.shape == (2, 480_000) and pink.dtype == np.float32
    frequencies, power = scipy.signal.welch(pink, 48_000, nperseg=48_000)
    heard = (frequencies >= 50) & (frequencies <= 20_000)
    for channel in power:
        slope = np.polyfit(np.log10(frequencies[heard]), 10 * np.log10(channel[heard]), 1)[0]
        assert slope == pytest.approx(-10, abs=0.3)
    assert np.abs(np.corrcoef(pink)[0, 1]) < 0.15 and np.abs(pink.mean(axis=1)).max() < 1e-6
    assert disturbance.pink_noise(1, 4_801, np.random.default_rng(2)).shape == (1, 4_801)


def test_a_silent_clip_and_silent_noise_stay_what_they_are():
    silence = np.zeros_like(SOUND)
    np.testing.assert_array_equal(disturbance.add_noise(silence, SOUND, 0.0), silence)
    np.testing.assert_array_equal(disturbance.add_noise(SOUND, silence, 0.0), SOUND)
    np.testing.assert_array_equal(disturbance.add_noise(silence, silence, 0.0), silence)


def test_babble_is_of_other_locations_alone():
    places = {f"bus-oslo-{number % 5}-{number}.wav": f"oslo-{number % 5}" for number in range(20)}
    chosen = {}
    for path in places:
        voices = disturbance.voices(path, places, disturbance.clip_generator(0, path))
        assert len(set(voices)) == 4 and path not in voices
        assert places[path] not in {places[voice] for voice in voices}
        assert voices == disturbance.voices(path, places, disturbance.clip_generator(0, path))
        chosen[path] = tuple(voices)
    assert len(set(chosen.values())) > 15
    few = {"a.wav": "oslo-1", "b.wav": "oslo-2", "c.wav": "oslo-1"}
    assert disturbance.voices("a.wav", few, np.random.default_rng(0)) == ["b.wav"]
    with pytest.raises(InputError, match="c.wav: no evaluate clip of another location has sound"):
        disturbance.voices("c.wav", {"a.wav": "oslo-1", "c.wav": "oslo-1"}, np.random.default_rng(0))


# Pictures


def test_blur_keeps_the_mean_and_takes_the_detail():
    blurred = disturbance.blur(FRAMES, 0.05)
    assert blurred.dtype == np.uint8 and blurred.shape == FRAMES.shape
    np.testing.assert_allclose(blurred.mean(axis=(1, 2)), FRAMES.mean(axis=(1, 2)), atol=0.1)
    assert blurred.std() < FRAMES.std() / 5
    np.testing.assert_array_equal(disturbance.blur(FRAMES, 0.0), FRAMES)
    point = np.zeros((1, 61, 61, 3), np.uint8)
    point[0, 30, 30] = 255
    spread = disturbance.blur(255 * np.ones_like(point) - point, 2 / 61)[0, :, 30, 0]
    expected = 255 - 255 * np.exp(-(np.arange(-30, 31) ** 2) / 8) / (8 * np.pi)
    np.testing.assert_allclose(spread, expected, atol=0.6)


def test_darkness_is_a_part_of_linear_light():
    linear = 10 ** (np.linspace(-2, 0, 20))
    srgb = lambda light: 1.055 * light ** (1 / 2.4) - 0.055  # noqa: E731  # above 0.0031
    frames = np.rint(255 * srgb(linear)).astype(np.uint8).reshape(1, 1, 20, 1)
    np.testing.assert_allclose(disturbance.darken(frames, 0.4).ravel(), 255 * srgb(0.4 * linear), atol=1)
    np.testing.assert_array_equal(disturbance.darken(FRAMES, 1.0), FRAMES)
    assert not disturbance.darken(FRAMES, 0.0).any()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.25, 1.0])
def test_a_block_covers_the_stated_part_at_one_place(part):
    white = np.full((10, 60, 60, 3), 255, np.uint8)
    blocked = disturbance.block(white, part, np.random.default_rng(0))
    covered = (blocked == disturbance.GREY).all(axis=-1)
    assert (white == 255).all() and (covered == covered[0]).all()
    assert covered.mean() == pytest.approx(part, abs=1 / 60)
    other = disturbance.block(white, 0.1, disturbance.clip_generator(0, "b.mp4"))
    assert (other != disturbance.block(white, 0.1, disturbance.clip_generator(0, "a.mp4"))).any()


# Scores


def test_without_a_modality_the_members_of_the_other_are_fused():
    generator = np.random.default_rng(0)
    labels, places = np.arange(30) % 3, np.char.add("place", (np.arange(30) % 10).astype(str))
    clean = {name: generator.dirichlet(np.ones(3), (30, 2)) for name in
             ("audio_spectrogram/mel", "audio_spectrogram/gam", "visual_image/VGG19")}  # fmt: skip
    noisy = {"pink": {name: clean[name][::-1] for name in clean if name.startswith("audio_")}}
    conditions = under_conditions(clean, noisy)
    assert list(conditions) == ["clean", "pink", "no sound", "no pictures"]
    ensembles = {"all": list(clean), "sound": list(clean)[:2], "seen": ["visual_image/VGG19"], "lacks": ["a/b"]}
    table = scored(conditions, ensembles, labels, places).set_index(["ensemble", "condition"])
    assert set(table.index.get_level_values(0)) == {"all", "sound", "seen"}

    def figures(*members: np.ndarray) -> tuple[float, float]:
        fused = prod(np.stack([clip_probabilities(member) for member in members]))
        return (fused.argmax(axis=1) == labels).mean(), macro_log_loss(labels, fused)

    mel, gam, vgg = clean.values()
    for (ensemble, condition), members in {
        ("all", "clean"): (mel, gam, vgg), ("all", "pink"): (mel[::-1], gam[::-1], vgg), ("all", "no sound"): (vgg,),
        ("all", "no pictures"): (mel, gam), ("sound", "no pictures"): (mel, gam), ("seen", "pink"): (vgg,),
    }.items():  # fmt: skip
        row = table.loc[(ensemble, condition)]
        assert (row["accuracy"], row["log_loss"]) == pytest.approx(figures(*members))
        assert row["difference"] == pytest.approx(row["accuracy"] - table.loc[(ensemble, "clean"), "accuracy"])
        assert row["low"] <= row["accuracy"] <= row["high"] and row["clips"] == 30
    unheard = table.loc[("sound", "no sound")]
    assert unheard["clips"] == 0 and unheard.drop("clips").isna().all()
    same = table.loc[("seen", "pink")]
    assert same["difference"] == same["difference_low"] == same["difference_high"] == 0


def test_the_seconds_used_are_spread_evenly():
    assert [list(seconds_used(count)) for count in (1, 2, 4)] == [[0], [0, 5], [0, 2, 5, 7]]
    assert list(seconds_used(10)) == list(range(10))


# Stages


CLIPS = ["airport-lyon-1-1", "airport-lyon-1-2", "bus-oslo-2-3", "bus-riga-3-4", "park-rome-4-5", "park-bonn-5-6"]


def write_clips(silent: str = "", mono: str = "") -> None:
    """Six clips, one of train, one without sound and one without pictures, with their frames."""
    rows = []
    for number, clip in enumerate(CLIPS):
        sound = (0.2 + 0.1 * number) * np.roll(SOUND, 1000 * number)
        write_wav(Path(f"{clip}.wav"), 0 * sound if clip == silent else sound[:1] if clip == mono else sound)
        scene, city, location, _ = clip.split("-")
        audio, video = "" if number == 4 else f"{clip}.wav", "" if number == 5 else f"{clip}.mp4"
        rows.append(f"{clip},{scene},{city},{location},{'train' if number == 1 else 'evaluate'},{audio},{video}")
    Path("split.csv").write_text("\n".join(["clip,scene,city,location,fold,audio,video", *rows]) + "\n")
    Path("classes.csv").write_text("class,meta_class\nairport,indoor\nbus,transportation\npark,outdoor\n")
    frames = np.random.default_rng(1).integers(0, 256, (6, 10, 32, 32, 3), np.uint8)
    frames[5] = 0
    np.save("frames.npy", frames)


def test_noisy_features_are_those_of_the_evaluate_clips_with_noise_in_them(run):
    write_clips(silent=CLIPS[0], mono=CLIPS[2])
    evaluated = [clip for clip in CLIPS if clip != CLIPS[1]]
    levels = ["--noise", "pink:10", "--noise", "babble:3", "--noise", "pink:-5.5"]
    for kind, options in {"mel": {"fmin": 50.0}, "cqt": {"bins": 32}}.items():
        numbers = [word for option, number in options.items() for word in (f"--{option}", str(number))]
        result = run("spectrogram.py", kind, "split.csv", f"{kind}.npy", *levels, "--seed", "3", *numbers)
        assert result.returncode == 0, result.stderr
        mono = f"warning: 1 clips: mono audio, duplicated to two channels (the first: {CLIPS[2]}"
        assert result.stderr.count(mono) == 1
        transform = partial(getattr(spectrogram, kind), **options)
        array = np.load(f"{kind}.npy")
        assert array.dtype == np.float16 and len(array) == 5 and np.isfinite(array).all() and not array[3].any()
        for row in (0, 1, 2, 4):
            sound = read_audio(f"{evaluated[row]}.wav", 48_000)
            pink = disturbance.pink_noise(2, 480_000, disturbance.clip_generator(3, evaluated[row]))
            for condition, snr in ((0, 10.0), (2, -5.5)):
                expected = transform(disturbance.add_noise(sound, pink, snr)).astype(np.float16)
                np.testing.assert_array_equal(array[row, condition], expected)
    # Silence is no number of decibels above anything: that clip is as the usual stage has it, to the bit.
    usual = run("spectrogram.py", "mel", "split.csv", "usual.npy", "--fmin", "50")
    assert usual.returncode == 0, usual.stderr
    noisy = np.load("mel.npy")
    np.testing.assert_array_equal(noisy[0], np.stack([np.load("usual.npy")[0]] * 3))
    assert (noisy[1, 0, 0] != noisy[1, 0, 1]).any()  # mono, with noise of its own in each channel


def test_babble_is_the_sum_of_other_clips_or_nothing_where_they_are_silent(run):
    write_clips(silent=CLIPS[5])
    split = pd.read_csv("split.csv", dtype=str, keep_default_na=False)
    split.assign(fold=["train", "train", "train", "evaluate", "train", "evaluate"]).to_csv("split.csv", index=False)
    result = run("spectrogram.py", "gam", "split.csv", "babble.npy", "--noise", "babble:0")
    usual = run("spectrogram.py", "gam", "split.csv", "usual.npy")
    assert result.returncode == usual.returncode == 0, result.stderr + usual.stderr
    np.testing.assert_array_equal(np.load("babble.npy")[:, 0], np.load("usual.npy")[[3, 5]])
    write_clips()
    result = run("spectrogram.py", "gam", "split.csv", "babble.npy", "--noise", "babble:0")
    assert result.returncode == 0, result.stderr
    sound = {clip: read_audio(f"{clip}.wav", 48_000) for clip in (CLIPS[0], CLIPS[2], CLIPS[3], CLIPS[5])}
    others = sum(sound[clip] for clip in list(sound)[1:])  # three have sound, so all of them speak
    expected = spectrogram.gam(disturbance.add_noise(sound[CLIPS[0]], others, 0.0))
    np.testing.assert_allclose(np.load("babble.npy")[0, 0], expected, atol=0.01)  # a sum in another order, half floats


def test_disturbed_frames_are_those_of_the_evaluate_clips(run):
    write_clips()
    words = [f"--disturbance={word}" for word in ("blur:0.02", "cover:0.25", "light:1", "cover:0.1")]
    result = run("disturb_frames.py", "split.csv", "frames.npy", "disturbed.npy", *words, "--seed", "3")
    assert result.returncode == 0, result.stderr
    array, stored = np.load("disturbed.npy"), np.load("frames.npy")
    assert array.dtype == np.uint8 and array.shape == (5, 4, 10, 32, 32, 3) and not array[4].any()
    for row, clip in enumerate([0, 2, 3, 4]):
        np.testing.assert_array_equal(array[row, 0], disturbance.blur(stored[clip], 0.02))
        np.testing.assert_array_equal(array[row, 2], stored[clip])
        for condition, part in ((1, 0.25), (3, 0.1)):
            generator = disturbance.clip_generator(3, CLIPS[clip])
            np.testing.assert_array_equal(array[row, condition], disturbance.block(stored[clip], part, generator))


def test_disturbed_features_do_not_depend_on_the_number_of_workers(run, monkeypatch):
    write_clips()
    table = pd.read_csv("split.csv", dtype=str, keep_default_na=False)
    pd.concat([table] * 2).to_csv("split.csv", index=False)  # two shards
    for workers in ("1", "2"):
        monkeypatch.setenv("SCENES_WORKERS", workers)
        result = run("spectrogram.py", "cqt", "split.csv", f"{workers}.npy", "--noise", "babble:0")
        assert result.returncode == 0, result.stderr
    assert Path("1.npy").read_bytes() == Path("2.npy").read_bytes()


SOUND_FORMS = "must be pink:NUMBER (-60 to 120) or babble:NUMBER (-60 to 120)"
FRAME_FORMS = "must be blur:NUMBER (0 to 0.5) or light:NUMBER (0 to 1) or cover:NUMBER (0 to 1)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("spectrogram.py mel split.csv o.npy --noise pink:300", f"pink:300: {SOUND_FORMS}"),
        ("spectrogram.py mel split.csv o.npy --noise pink:0 --noise brown:3", f"brown:3: {SOUND_FORMS}"),
        ("spectrogram.py cqt split.csv o.npy --noise babble", f"babble: {SOUND_FORMS}"),
        ("spectrogram.py gam split.csv o.npy --noise pink:nan", f"pink:nan: {SOUND_FORMS}"),
        ("spectrogram.py mel split.csv o.npy --noise pink:0 --strict", "--strict and --noise: one at a time, "),
        ("disturb_frames.py split.csv frames.npy o.npy --disturbance blur:2", f"blur:2: {FRAME_FORMS}"),
        ("disturb_frames.py split.csv frames.npy o.npy --disturbance light:-1", f"light:-1: {FRAME_FORMS}"),
        ("disturb_frames.py split.csv frames.npy o.npy --disturbance cover:1:2", f"cover:1:2: {FRAME_FORMS}"),
        # What DVC makes of an empty list in params.yaml: nothing.
        (
            "spectrogram.py mel split.csv o.npy --seed 0",
            "--noise is missing: list a condition, such as pink:20, in robu",
        ),
        (
            "disturb_frames.py split.csv frames.npy o.npy --seed 0",
            "--disturbance is missing: list a condition, such as b",
        ),
        ("disturb_frames.py split.csv short.npy o.npy --disturbance cover:0.2", "short.npy: 2 rows for 6 clips; run "),
    ],
)
def test_a_bad_condition_ends_in_one_line(arguments, message, run):
    write_clips()
    np.save("short.npy", np.zeros((2, 10, 32, 32, 3), np.uint8))
    result = run(*arguments.split())
    assert result.returncode in (1, 2) and result.stderr.splitlines() == [result.stderr.strip()]
    assert result.stderr.startswith(f"error: {message}") and not Path("o.npy").exists()


ENSEMBLES = ["heard=audio_spectrogram/mel", "seen=visual_image/MobileNetV2",
             "both=audio_spectrogram/mel,visual_image/MobileNetV2", "more=audio_spectrogram/mel,gam"]  # fmt: skip
SCORE = ["score_robustness.py", "split.csv", "classes.csv", "metrics/robustness.csv", "metrics/robustness.json",
         *ENSEMBLES, "--clean", "clean/{member}.npy", "--disturbed", "disturbed/{member}.npy",
         "--noise", "pink:-20", "--disturbance", "light:0.1", "--disturbance", "light:1", "--seconds", "2"]  # fmt: skip


def test_from_media_to_scores(run):
    from scenes.classifiers.image_networks import classifier
    from scenes.classifiers.vgg14 import Options, vgg14

    write_clips()
    widths, rates = [4, 4, 4, 4], [0.0] * 4
    numbers = [*(f"--widths={width}" for width in widths), *(f"--dropout={rate}" for rate in rates), "--dense=8"]
    vgg, net = vgg14(3, Options(widths, 8, rates)), classifier("MobileNetV2", 32, False, 3)
    for name, network, scale in (("mel", vgg, 2), ("net", net, 4)):
        # Initial weights give nearly every input a third a class, and are others under each backend.
        generator = np.random.default_rng(0)
        network.set_weights([
            weight if weight.ndim == 1 else
            scale * generator.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
            for weight in network.get_weights()
        ])  # fmt: skip
        network.save_weights(f"{name}.weights.h5")
    for clip in CLIPS[:5]:
        write_mp4(Path(f"{clip}.mp4"), fps=4, sound=False)
    picture = ["--network=MobileNetV2", "--size=32"]
    first = ["split.csv", "classes.csv"]
    for command in (
        ["spectrogram.py", "mel", "split.csv", "mel.npy"],
        ["frames.py", "split.csv", "frames.npy", "--size=40"],
        ["spectrogram.py", "mel", "split.csv", "pink.npy", "--noise=pink:-20"],
        ["disturb_frames.py", "split.csv", "frames.npy", "dim.npy", "--disturbance=light:0.1", "--disturbance=light:1"],
        ["predict.py", "audio-spectrogram", *first, "mel.npy", "mel.weights.h5", "clean/audio_spectrogram/mel.npy",
         "c.csv", "m.json", *numbers],
        ["predict.py", "visual-image", *first, "frames.npy", "net.weights.h5", "clean/visual_image/MobileNetV2.npy",
         "c.csv", "m.json", *picture],
        ["predict_robustness.py", "audio-spectrogram", *first, "pink.npy", "mel.weights.h5",
         "disturbed/audio_spectrogram/mel.npy", "--seconds=2", *numbers],
        ["predict_robustness.py", "visual-image", *first, "dim.npy", "net.weights.h5",
         "disturbed/visual_image/MobileNetV2.npy", "--seconds=2", *picture],
        SCORE,
    ):  # fmt: skip
        result = run(*command)
        assert result.returncode == 0, (command, result.stderr)
    assert "not run: clean/audio_spectrogram/gam.npy" in result.stderr
    heard, seen = (np.load(f"disturbed/{name}.npy") for name in ("audio_spectrogram/mel", "visual_image/MobileNetV2"))
    assert heard.shape == (1, 5, 2, 3) and np.isnan(heard[:, 3]).all() and not np.isnan(heard[:, [0, 1, 2, 4]]).any()
    assert seen.shape == (2, 5, 2, 3) and np.isnan(seen[:, 4]).all() and not np.isnan(seen[:, :4]).any()
    clean = np.load("clean/audio_spectrogram/mel.npy")[:, [0, 5]]
    assert np.nanmax(np.abs(heard[0] - clean)) > 0.001
    # A condition that changes nothing gets the usual stage's predictions, and loses nothing.
    np.testing.assert_allclose(seen[1], np.load("clean/visual_image/MobileNetV2.npy")[:, [0, 5]], rtol=1e-4)
    assert np.nanmax(np.abs(seen[0] - seen[1])) > 0.001
    table = pd.read_csv("metrics/robustness.csv").set_index(["condition", "ensemble"])
    assert list(table.index.unique(0)) == [
        "clean", "pink -20 dB", "light 0.1", "light 1", "no sound", "no pictures",
    ]  # fmt: skip
    assert list(table.index.unique(1)) == ["heard", "seen", "both"]  # mel and gam: no predictions of gam
    assert table.loc[("light 0.1", "seen"), "clips"] == table.loc[("no pictures", "both"), "clips"] == 4
    assert table.loc[("pink -20 dB", "both"), "clips"] == 5
    for row, condition in enumerate(["light 0.1", "light 1"]):
        right = seen[row].mean(axis=1)[:4].argmax(axis=1) == [0, 1, 1, 2]
        assert table.loc[(condition, "seen"), "accuracy"] == pytest.approx(right.mean())
    assert table.loc[("light 1", "both"), "difference"] == 0

    np.save("disturbed/audio_spectrogram/mel.npy", heard[:, :4])
    result = run(*SCORE)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: disturbed/audio_spectrogram/mel.npy: shape (1, 4, 2, 3), ")


# The pipeline and the report


def test_scores_have_the_conditions_of_the_features_in_their_order():
    score = STAGES["score-robustness"]["cmd"]
    for words, of in (("${robustness.sound}", "robustness"), ("${robustness.frames}", "robustness-frames")):
        assert words in score and words in STAGES[of].get("do", STAGES[of])["cmd"]
    report = dict(re.findall(r"(\w+)=(\w+/\S+)", STAGES["report"]["cmd"]))
    for ensemble, members in re.findall(r"(\w+)=(\w+/\S+)", score):
        assert report[ensemble] == members


@pytest.mark.parametrize("name", ["params.yaml", "params.paper.yaml"])
def test_every_condition_of_the_parameters_is_one(name):
    params = yaml.safe_load((ROOT / name).read_text())["robustness"]
    assert len(disturbance.parse(params["sound"]["noise"], disturbance.NOISE)) > 1
    assert len(disturbance.parse(params["frames"]["disturbance"], disturbance.FRAMES)) > 1


def test_the_report_has_the_scores_or_says_that_there_are_none(run):
    assert section(pd.DataFrame(), lambda name, description: "").endswith("\nNot run.")
    rows = [("clean", "mel_inception", 40, 0.75, 0.6, 0.9, 1.2, 0.0, 0.0, 0.0),
            ("pink 0 dB", "mel_inception", 40, 0.5, 0.4, 0.6, 2.5, -0.25, -0.3, -0.1),
            ("no sound", "mel_inception", 0, *[np.nan] * 7)]  # fmt: skip
    columns = ["condition", "ensemble", "clips", "accuracy", "low", "high", "log_loss",
               "difference", "difference_low", "difference_high"]  # fmt: skip
    Path("metrics").mkdir()
    pd.DataFrame(rows, columns=columns).to_csv("metrics/robustness.csv", index=False)
    Path("metrics/early_detect.csv").write_text("framework,seconds,accuracy,log_loss\n")
    Path("metrics/seeds.csv").write_text("framework,seed,accuracy\n")
    classes = made_up.predicted(made_up.write_split(40, 10), 30, 0)
    made_up.write("predictions/audio_spectrogram/mel.npy", made_up.probabilities(classes, 0, (10,)))
    options = ["--setup", "here"]
    result = run("report.py", *made_up.report_arguments(), *options)
    assert result.returncode == 0, result.stderr
    text = Path("metrics/README.md").read_text().partition("## When sound or picture is bad")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.rstrip(" |").split(" | ")[-1] for line in lines] == [
        "`mel_inception`", "---", "75.0 [60.0, 90.0]; 1.200",
        "50.0 [40.0, 60.0]; -25.0 [-30.0, -10.0]; 2.500", "no clips",
    ]  # fmt: skip
