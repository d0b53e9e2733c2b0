"""Extraction on a Dask cluster: the bytes of this machine's own workers, also when a worker dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest
from conftest import ROOT, noise, write_wav

from scenes.dataset.shards import map_clips
from scenes.media.clip import read_audio
from scenes.stage.errors import InputError

pytestmark = pytest.mark.slow

CLIPS = ["a.wav", "b.wav", ""] * 8


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with two worker processes, and the folder they work in."""
    folder = tmp_path_factory.mktemp("cluster")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'stages'}:{ROOT / 'tests'}"}

    def start(*command: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *command, "--scheduler-file", "scheduler.json", "--no-dashboard"],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    while not (folder / "scheduler.json").exists():
        time.sleep(0.1)
    processes.append(start("worker", "--nworkers", "2", "--nthreads", "1"))
    yield json.loads((folder / "scheduler.json").read_text())["address"], folder
    for process in reversed(processes):
        process.terminate()
        process.wait()


def transformed(path: str) -> np.ndarray:
    return np.abs(np.fft.rfft(read_audio(path, 48_000)[:, :4096]))


def killing_the_first_worker(path: str) -> np.ndarray:
    if path == "b.wav" and not Path("killed").exists():
        Path("killed").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return transformed(path)


def test_a_cluster_gives_the_bytes_of_this_machine_also_when_a_worker_dies(cluster, monkeypatch):
    address, folder = cluster
    monkeypatch.chdir(folder)
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_wav(Path(name), np.roll(noise(), 1000 * seed, axis=1))
    arguments = CLIPS, (2, 2049), "float32"
    monkeypatch.setenv("SCENES_WORKERS", "2")
    map_clips(transformed, *arguments, Path("loky.npy"), [Path("a.wav")])
    expected = Path("loky.npy").read_bytes()
    assert np.load("loky.npy").any(axis=(1, 2)).tolist() == [bool(clip) for clip in CLIPS]

    monkeypatch.setenv("SCENES_DASK", address)
    map_clips(transformed, *arguments, Path("dask.npy"), [Path("a.wav")])
    assert Path("dask.npy").read_bytes() == expected
    map_clips(killing_the_first_worker, *arguments, Path("dask.npy"), [Path("a.wav")])
    assert Path("killed").exists() and Path("dask.npy").read_bytes() == expected
    assert not list(Path(".resume").iterdir())


def failing(path: str) -> np.ndarray:
    raise InputError(f"{path}: broken")


def test_what_goes_wrong_on_a_worker_is_said_here(cluster, monkeypatch):
    monkeypatch.setenv("SCENES_DASK", cluster[0])
    with pytest.raises(InputError, match=r"a\.wav: broken"):
        map_clips(failing, CLIPS, (2,), "float32", Path("out.npy"), [])
    assert not Path("out.npy").exists()


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("SCENES_DASK", "tcp://127.0.0.1:1")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match="SCENES_DASK: no Dask scheduler answers at tcp://127.0.0.1:1"),
    ):
        map_clips(failing, CLIPS, (2,), "float32", Path("out.npy"), [])
