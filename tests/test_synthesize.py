"""The demo set: the same from the same seed, and in the layout and formats of the real one."""

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
import soundfile
from synthesize import main, make, plan

from scenes.demo import audio as demo_audio
from scenes.demo import video as demo_video
from scenes.stage.errors import InputError

SCRIPT = Path(__file__).parents[1] / "stages" / "synthesize.py"


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The smallest whole set, made by the script: ten train and ten evaluate clips."""
    out = tmp_path_factory.mktemp("demo") / "clips"
    numbers = ["--train=1", "--evaluate=1", "--locations=1", "--seed=3", "--width=64", "--height=36", "--fps=2"]
    subprocess.run([sys.executable, SCRIPT, out, *numbers], check=True)
    return out


def test_layout(demo):
    assert [path.name for path in demo.parent.iterdir()] == ["clips"]  # no temporary folder is left
    assert sorted(path.name for path in demo.iterdir()) == ["audio", "evaluation_setup", "video"]
    named = []
    for fold in ("train", "evaluate"):
        table = pd.read_csv(demo / "evaluation_setup" / f"fold1_{fold}.csv", sep="\t")
        assert list(table.columns) == ["filename_audio", "filename_video", "scene_label"]
        assert sorted(table["scene_label"]) == sorted(demo_audio.SCENES)
        for row in table.itertuples():
            scene, city, location, segment = Path(row.filename_audio).stem.split("-")
            assert scene == row.scene_label and city.isalpha() and location.isdigit() and segment.isdigit()
            assert Path(row.filename_video).stem == Path(row.filename_audio).stem
            named += [row.filename_audio, row.filename_video]
    assert sorted(named) == sorted(str(p.relative_to(demo)) for p in demo.glob("*/*") if p.suffix != ".csv")


def test_a_folder_in_use_is_left_alone(demo):
    before = digests(demo)
    with pytest.raises(InputError, match="is there already, and not empty"):
        main(demo)
    assert digests(demo) == before


def test_one_clip(demo, tmp_path):
    """Formats at full size; equal bytes from an equal seed, in another process too, other bytes from another seed."""
    clip = plan(train=1, evaluate=1, locations=1)[0]
    for name, seed, size, fps in (("full", 3, (320, 180), 24), ("again", 3, (64, 36), 2), ("other", 4, (64, 36), 2)):
        for kind in ("audio", "video"):
            (tmp_path / name / kind).mkdir(parents=True)
        make(clip, tmp_path / name, seed, size, fps)
    again, other, script = digests(tmp_path / "again"), digests(tmp_path / "other"), digests(demo)
    assert len(again) == 2 and all(script[name] == digest for name, digest in again.items())
    assert not set(again.values()) & set(other.values())

    info = soundfile.info(tmp_path / "full" / "audio" / f"{clip.name}.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (48_000, 2, 480_000, "PCM_24")
    with av.open(str(tmp_path / "full" / "video" / f"{clip.name}.mp4")) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == ("h264", 320, 180)
        assert video.average_rate >= 24 and float(video.duration * video.time_base) == pytest.approx(10)
        assert video.codec_context.pix_fmt == "yuv420p"
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 48_000, 2)
        assert float(audio.duration * audio.time_base) == pytest.approx(10, abs=0.05)


def test_plan_keeps_locations_apart():
    clips = pd.DataFrame(plan(train=5, evaluate=2, locations=4))
    assert clips["name"].is_unique and clips["segment"].is_unique
    assert (clips.groupby("location")["scene"].nunique() == 1).all()
    assert (clips.groupby("location")["fold"].nunique() == 1).all()
    counts = clips.groupby(["fold", "scene"])["location"].agg(["size", "nunique"]).groupby("fold").agg(["min", "max"])
    assert counts.loc["train"].tolist() == [5, 5, 4, 4]
    assert counts.loc["evaluate"].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("scene", demo_audio.SCENES)
def test_sound(scene):
    sound = demo_audio.soundscape(scene, np.random.default_rng(0), np.random.default_rng(1), seconds=2)
    left, right = sound
    assert sound.shape == (2, 96_000) and np.isfinite(sound).all()
    assert sound.std() > 0.005 and np.abs(sound).max() < 1
    assert np.corrcoef(left, right)[0, 1] < 0.98  # no copy, no mere gain


def test_clips_of_a_location_share_its_look():
    def picture(place: int, clip: int) -> np.ndarray:
        pictures = demo_video.frames(
            "park", np.random.default_rng(place), np.random.default_rng(clip), np.array([0.5]), 64, 36
        )
        return next(pictures).astype(float)

    first, same, other = picture(0, 1), picture(0, 2), picture(5, 1)
    assert 0 < np.abs(first - same).mean() < np.abs(first - other).mean()


def test_the_tables_name_the_same_scenes():
    assert sorted(demo_video.SCENES) == sorted(demo_audio.SCENES)
