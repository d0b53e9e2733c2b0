"""What one clone computes, another has from a remote: a folder, a server with SSH, a store with S3, plain HTTP.

Each clone runs real stages of this project on a few clips: demo set, split and frames. The servers are started by the
tests, on the loopback address.
"""

import asyncio
import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import asyncssh
import pytest
import yaml
from conftest import ROOT
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    **os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SCENES_BACKEND": "sequential",
    "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "NO_PROXY": "127.0.0.1",
}  # fmt: skip
GIT = ["-c", "user.name=a", "-c", "user.email=a@b"]
SMALL = {"train": 1, "evaluate": 1, "locations": 1, "fps": 2, "width": 64, "height": 64}
OUTPUTS = ["data/frames.npy", "data/split.csv", "data/media.csv"]


def call(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A clone, with the working tree's state of every file, that has run its small pipeline."""
    clone = tmp_path_factory.mktemp("sharing") / "first"
    call(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
    for path in call(ROOT, "git", "ls-files", "-mo", "--exclude-standard").split():
        if (ROOT / path).is_file():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_bytes((ROOT / path).read_bytes())
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["demo"].update(SMALL)
    params["frames"]["size"] = 32
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    stages = yaml.safe_load((clone / "dvc.yaml").read_text())
    stages = {"vars": stages["vars"], "stages": {name: stages["stages"][name] for name in ("split", "frames")}}
    (clone / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    (clone / "dvc.lock").unlink(missing_ok=True)
    made = yaml.safe_load((clone / "data/demo/dvc.yaml").read_text())
    del made["stages"]["synthesize-models"]
    (clone / "data/demo/dvc.yaml").write_text(yaml.safe_dump(made, sort_keys=False))
    (clone / "data/demo/dvc.lock").unlink()  # these locks name what no cache holds
    shutil.rmtree(clone / "data/robustness")
    call(clone, "dvc", "repro")
    commit(clone, "a small pipeline")
    return clone


def commit(clone: Path, message: str) -> None:
    call(clone, "git", "add", "--all")
    call(clone, "git", *GIT, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def folder(tmp_path) -> Iterator[dict[str, str]]:
    yield {"url": str(tmp_path / "store")}


@pytest.fixture
def ssh(tmp_path) -> Iterator[dict[str, str]]:
    """A server with SSH and SFTP that lets in one key."""
    (tmp_path / "store").mkdir()
    key, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    key.write_public_key(tmp_path / "authorized")
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=str(tmp_path / "authorized"),
            sftp_factory=True, allow_scp=True,
        )
    )  # fmt: skip
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield {
        "url": f"ssh://me@127.0.0.1:{server.get_port()}{tmp_path}/store",
        "keyfile": str(tmp_path / "key"),
        "allow_agent": "false",
    }
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture
def s3() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key",
                          aws_secret_access_key="secret")  # fmt: skip
    client.create_bucket(Bucket="scenes")
    yield {"url": "s3://scenes/store", "endpointurl": endpoint}
    server.stop()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder by HTTP, read only."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def add_remote(clone: Path, settings: dict[str, str]) -> None:
    """What `dvc remote add --local --default store` and `dvc remote modify --local store` write, seconds each."""
    lines = [f"    {name} = {value}" for name, value in settings.items()]
    text = "\n".join(["[core]", "    remote = store", "['remote \"store\"']", *lines])
    (clone / ".dvc/config.local").write_text(text + "\n")


def restored(first: Path, clone: Path, settings: dict[str, str]) -> str:
    """Have everything in a new clone, without running anything, and return what DVC said."""
    call(first, "git", "clone", "-q", str(first), str(clone))
    add_remote(clone, settings)
    output = call(clone, "dvc", "repro", "--pull")
    assert "Running stage" not in output, output
    for path in OUTPUTS:
        assert (clone / path).read_bytes() == (first / path).read_bytes()
    return output


@pytest.mark.parametrize("kind", ["ssh", "s3"])
def test_a_second_clone_has_all_from_the_remote(first, tmp_path, request, kind):
    settings = request.getfixturevalue(kind)
    add_remote(first, settings)
    assert "pushed" in call(first, "dvc", "push", "--run-cache")
    restored(first, tmp_path / "second", settings)


def test_a_third_clone_reads_by_http(first, tmp_path, folder):
    add_remote(first, folder)
    call(first, "dvc", "push", "--run-cache")
    with served(Path(folder["url"])) as url:
        restored(first, tmp_path / "third", {"url": url})


def test_the_run_cache_answers_what_no_commit_holds(first, tmp_path, folder):
    """A run whose dvc.lock was never committed: the other clone has its result, not the work."""
    add_remote(first, folder)
    call(first, "dvc", "push")
    call(first, "git", "clone", "-q", str(first), str(tmp_path / "other"))
    params = first / "params.yaml"
    before, changed = params.read_text(), params.read_text().replace("size: 32", "size: 40", 1)
    assert changed != before
    params.write_text(changed)
    call(first, "dvc", "repro")
    call(first, "dvc", "push", "--run-cache")
    frames = (first / "data/frames.npy").read_bytes()
    params.write_text(before)
    call(first, "git", "checkout", "-q", ".")
    call(first, "dvc", "checkout", "-q")

    other = tmp_path / "other"
    add_remote(other, folder)
    (other / "params.yaml").write_text(changed)
    output = call(other, "dvc", "repro", "--pull")
    assert "Stage 'frames' is cached - skipping run" in output and "Running stage" not in output
    assert (other / "data/frames.npy").read_bytes() == frames


def test_an_experiment_goes_to_another_clone(first, tmp_path, folder):
    """Experiments travel as Git references, their data by the remote."""
    add_remote(first, folder)
    call(tmp_path, "git", "init", "-q", "--bare", "hub.git")
    call(first, "git", "remote", "add", "hub", str(tmp_path / "hub.git"))
    try:
        call(first, "git", "push", "-q", "hub", "HEAD:refs/heads/main")
        call(first, "git", "config", "user.name", "a")
        call(first, "git", "config", "user.email", "a@b")
        call(first, "dvc", "exp", "run", "-n", "larger", "-S", "frames.size=48", "frames")
        frames = (first / "data/frames.npy").read_bytes()
        assert "Pushed experiment larger" in call(first, "dvc", "exp", "push", "hub", "larger")
        call(tmp_path, "git", "clone", "-q", "-b", "main", str(tmp_path / "hub.git"), "second")
        second = tmp_path / "second"
        add_remote(second, folder)
        call(second, "dvc", "exp", "pull", "origin", "larger")
        call(second, "dvc", "exp", "apply", "larger")
        assert (second / "data/frames.npy").read_bytes() == frames
        assert "size: 48" in (second / "params.yaml").read_text()
    finally:
        call(first, "git", "remote", "remove", "hub")
        call(first, "git", "checkout", "-q", ".")
