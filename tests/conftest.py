"""Real media files and tables for the tests, made on the spot."""

import io
import os
import runpy
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

# As in the demo: no graphs; and one thread, as two that wait for each other lose more than they gain on small networks.
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import hypothesis
import numpy as np
import pytest
import soundfile

# A slow machine is no failure; the same examples in every run.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

ROOT = Path(__file__).parents[1]
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="no TensorFlow, as on Python 3.14")
BACKENDS = ["torch", pytest.param("tensorflow", marks=needs_tensorflow), pytest.param("jax", marks=needs_jax)]


@pytest.fixture(autouse=True)
def _scratch(tmp_path, monkeypatch):
    """Each test has a folder of its own, where `.resume/` too lands; Keras' precision and joblib's workers are reset.

    Joblib reuses the workers of a process, which stay in the folder that was the current one when they started.
    """
    monkeypatch.chdir(tmp_path)
    yield
    if "joblib" in sys.modules:
        sys.modules["joblib"].externals.loky.get_reusable_executor(reuse=True).shutdown(wait=True)
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


def run(
    script: str, *arguments: object, folder: Path | None = None, encoding: str = "utf-8"
) -> subprocess.CompletedProcess:
    """What `python stages/<script>` does in this or that folder, without a process that loads for seconds."""
    out, err, code = io.TextIOWrapper(io.BytesIO(), encoding, write_through=True), io.StringIO(), 0
    words = [script, *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder or Path.cwd())
        patch.setattr(sys, "argv", words)
        patch.setattr(signal, "signal", lambda *arguments: None)  # Ctrl-C remains the test run's
        try:
            runpy.run_path(str(ROOT / "stages" / script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(words, code, out.buffer.getvalue().decode(encoding), err.getvalue())


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """The demo's foundation models; tests only read them."""
    folder = tmp_path_factory.mktemp("models") / "made"
    done = run("synthesize_models.py", folder)
    assert done.returncode == 0, done.stderr
    return folder


def write_wav(path: Path, sound: np.ndarray, rate: int = 48_000, subtype: str = "PCM_24") -> Path:
    """Write `[channels, samples]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.T, rate, subtype=subtype)
    return path


def noise(seconds: float = 10.0, channels: int = 2, rate: int = 48_000) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((channels, round(seconds * rate))).clip(-5, 5)


def write_mp4(path: Path, seconds: float = 10.0, fps: int = 24, sound: bool = True, faststart: bool = False) -> Path:
    """A film of a grey value that grows from 0 to 200 over ten seconds, with noise for sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        pictures = container.add_stream("libx264", rate=fps)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="stereo") if sound else None
        for index in range(round(seconds * fps)):
            grey = np.full((48, 64, 3), 20 * index / fps, np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(pictures.encode())
        if audio:
            frame = av.AudioFrame.from_ndarray(noise(seconds).astype(np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def write_setup(folder: Path, train: list[str], evaluate: list[str]) -> Path:
    """Setup files of clips named `<scene>-<city>-<location>-<segment>`."""
    folder.mkdir(parents=True, exist_ok=True)
    for fold, clips in (("train", train), ("evaluate", evaluate)):
        rows = [f"audio/{clip}.wav\tvideo/{clip}.mp4\t{clip.split('-')[0]}" for clip in clips]
        (folder / f"fold1_{fold}.csv").write_text(
            "\n".join(["filename_audio\tfilename_video\tscene_label", *rows]) + "\n"
        )
    return folder
