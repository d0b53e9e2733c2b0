"""Downloads of published weights, from a server that breaks off, fails or sends something else."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import embed_audio
import pooch
import pytest

from scenes.dataset.weights import fetch, verify
from scenes.stage.errors import InputError

CONTENT = bytes(range(256)) * 4096
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends `CONTENT` under every name but `missing.pth`; breaks off in the middle `broken` times first."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.broken, self.requests = 0, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if "missing" in self.path:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        whole = len(self.server.requests) > self.server.broken
        self.wfile.write(CONTENT if whole else CONTENT[: len(CONTENT) // 2])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


def test_downloads_once_with_a_progress_bar(server, capfd):
    path = fetch(f"{server.url}/a.pth", Path("cache/deep/a.pth"), MD5, 1.0)
    assert path.read_bytes() == CONTENT and "100%" in capfd.readouterr().err
    assert fetch(f"{server.url}/a.pth", path, MD5, 1.0) == path and len(server.requests) == 1
    assert [path.name for path in path.parent.iterdir()] == ["a.pth"]


def test_a_connection_broken_in_the_middle_is_tried_again(server):
    server.broken = 2
    assert fetch(f"{server.url}/a.pth", Path("a.pth"), MD5, 1.0).read_bytes() == CONTENT
    assert len(server.requests) == 3


@pytest.mark.parametrize("md5", [MD5, None])
def test_a_connection_that_always_breaks_leaves_nothing(server, md5):
    server.broken = 99
    url = f"{server.url}/a.pth"
    with pytest.raises(InputError) as error:
        fetch(url, Path("cache/a.pth"), md5, 327.4)
    message = f"a.pth: cannot be downloaded from {url} (ChunkedEncodingError); put it into cache by hand (327.4 MB)"
    assert str(error.value) == message
    assert not list(Path("cache").iterdir())


@pytest.mark.parametrize(
    ("name", "md5", "message"),
    [
        ("missing.pth", MD5, r"missing.pth: cannot be downloaded from http.*/missing.pth \(HTTP status 404\)"),
        (
            "a.pth",
            "0" * 32,
            f"a.pth: what came from http.*/a.pth has not the MD5 {'0' * 32}; put it into cache by hand",
        ),
    ],
)
def test_a_wrong_answer_leaves_nothing(server, name, md5, message):
    with pytest.raises(InputError, match=message):
        fetch(f"{server.url}/{name}", Path("cache") / name, md5, 1.0)
    assert not list(Path("cache").iterdir())


def test_without_a_network_a_file_placed_by_hand_is_as_good(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"\(ConnectionError\); put it into cache by hand \(1.0 MB\)"):
        fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0)
    Path("cache/a.pth").write_bytes(CONTENT)
    assert fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0) == Path("cache/a.pth")
    Path("cache/a.pth").write_bytes(CONTENT[1:])
    found = hashlib.md5(CONTENT[1:]).hexdigest()
    with pytest.raises(InputError, match=f"^cache/a.pth: MD5 is {found}, expected {MD5}; remove it or put"):
        fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0)


def test_an_unpublished_hash_is_recorded_and_held_to(server, capfd):
    path = fetch(f"{server.url}/a.pth", Path("a.pth"), None, 1.0)
    assert f"a.pth: has no published MD5; {MD5} is recorded beside it and held to from now on" in capfd.readouterr().err
    assert Path("a.pth.md5").read_text() == f"{MD5}  a.pth\n"
    verify(path, None)
    assert not capfd.readouterr().err
    path.write_bytes(b"another")
    with pytest.raises(InputError, match=f"a.pth: MD5 is .*, expected {MD5}"):
        verify(path, None)


def test_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("a.pth").write_bytes(CONTENT)
    assert fetch("", Path("~/a.pth"), MD5, 1.0) == tmp_path / "a.pth"


def test_the_stage_downloads_the_published_file(server):
    """By its quoted name, and refuses what is not it."""
    Path("media.csv").write_text("clip,audio\n")
    with pytest.raises(InputError, match="ResNet38_mAP=0.434.pth: what came from .* put it into cache"):
        embed_audio.main(Path("media.csv"), Path("a.npy"), "ResNet38", weights_dir=Path("cache"), mirror=server.url)
    assert server.requests[0] == "/ResNet38_mAP%3D0.434.pth?download=1"
