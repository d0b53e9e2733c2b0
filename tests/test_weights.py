"""Downloads of published weights, from a server that breaks off, fails or sends something else."""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import embed_audio
import pytest
from conftest import ROOT

from scenes.dataset import transfer
from scenes.dataset.weights import fetch, verify
from scenes.stage.errors import InputError

CONTENT = bytes(range(256)) * 4096
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends `CONTENT`, or a range of it, for any name but `missing.pth`; breaks off halfway `broken` times first."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.broken, self.requests, self.starts, self.states_length = 0, [], [], True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if "missing" in self.path:
            return self.send_error(404)
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.starts.append(start)
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if self.server.states_length:
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        whole = len(self.server.requests) > self.server.broken
        self.wfile.write(CONTENT[start:] if whole else CONTENT[start : (start + len(CONTENT)) // 2])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("states_length", [True, False])
def test_downloads_once_with_a_progress_bar(server, capfd, states_length):
    server.states_length = states_length
    path = fetch(f"{server.url}/a.pth", Path("cache/deep/a.pth"), MD5, len(CONTENT) / 1e6)
    assert path.read_bytes() == CONTENT and "100%" in capfd.readouterr().err
    assert fetch(f"{server.url}/a.pth", path, MD5, 1.0) == path and len(server.requests) == 1
    assert [path.name for path in path.parent.iterdir()] == ["a.pth"]


def half_of(rest: int) -> int:
    """How much of what is left arrives when it breaks off: whole blocks."""
    return rest // 2 // transfer.BLOCK * transfer.BLOCK


def test_a_connection_broken_in_the_middle_goes_on_from_there(server):
    server.broken = 2
    assert fetch(f"{server.url}/a.pth", Path("a.pth"), MD5, 1.0).read_bytes() == CONTENT
    first = half_of(len(CONTENT))
    assert server.starts == [0, first, first + half_of(len(CONTENT) - first)]


@pytest.mark.parametrize("md5", [MD5, None])
def test_a_connection_that_always_breaks_leaves_a_part_for_the_next_run(server, md5):
    server.broken = 99
    url = f"{server.url}/a.pth"
    with pytest.raises(InputError) as error:
        fetch(url, Path("cache/a.pth"), md5, 327.4)
    assert str(error.value) == (
        f"{url}: cannot be downloaded (ChunkedEncodingError); rerun to resume, or download it to cache/a.pth "
        "by hand (327.4 MB)"
    )
    assert [path.name for path in Path("cache").iterdir()] == ["a.pth.part"]
    there, server.broken = Path("cache/a.pth.part").stat().st_size, 0
    assert 0 < there < len(CONTENT)
    assert fetch(url, Path("cache/a.pth"), md5, 327.4).read_bytes() == CONTENT and server.starts[-1] == there


@pytest.mark.parametrize(("part", "starts"), [(CONTENT, [len(CONTENT)]), (CONTENT + b"1", [len(CONTENT) + 1, 0])])
def test_a_part_that_was_whole_when_the_run_was_killed_is_asked_for_no_byte(server, part, starts):
    """One that is longer than the file is another file's: downloaded anew."""
    Path("a.pth.part").write_bytes(part)
    assert fetch(f"{server.url}/a.pth", Path("a.pth"), None, 1.0).read_bytes() == CONTENT
    assert server.starts == starts


def test_of_several_processes_one_downloads(server):
    program = "import sys; from pathlib import Path; from scenes.dataset.weights import fetch; "
    program += f"fetch('{server.url}/a.pth', Path('a.pth'), '{MD5}', 1.0)"
    server.broken = 1
    running = [subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(ROOT / "stages")})
               for _ in range(4)]  # fmt: skip
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    assert Path("a.pth").read_bytes() == CONTENT and len(server.requests) == 2
    assert [path.name for path in Path().glob("a.pth*")] == ["a.pth"]


def test_a_process_that_waited_for_one_that_failed_goes_on_from_where_that_came(server):
    """It holds the part since before that one wrote to it, or removed it."""
    for leave, starts in ((transfer.BLOCK, [transfer.BLOCK]), (None, [0])):
        server.starts.clear()
        part = Path("a.pth.part")
        part.touch()
        with part.open("ab") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            waiting = threading.Thread(target=fetch, args=(f"{server.url}/a.pth", Path("a.pth"), MD5, 1.0))
            waiting.start()
            threading.Event().wait(0.2)  # until it waits; should that take longer, this tests less
            if leave:
                holder.write(CONTENT[:leave])
                holder.flush()
            else:
                part.unlink()
        waiting.join(60)
        assert Path("a.pth").read_bytes() == CONTENT and server.starts == starts
        Path("a.pth").unlink()


def test_a_mistyped_address_is_said_at_once(monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(InputError, match=r"example.org/a: cannot be downloaded \(MissingSchema\)"):
        fetch("example.org/a", Path("a.pth"), MD5, 1.0)


@pytest.mark.parametrize(
    ("name", "md5", "message"),
    [
        ("missing.pth", MD5, r"http.*/missing.pth: cannot be downloaded \(HTTP status 404\); rerun to resume, or"),
        (
            "a.pth",
            "0" * 32,
            f"cache/a.pth.part: MD5 is {MD5}, expected {'0' * 32}; it was removed; rerun, or download it to",
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
    with pytest.raises(InputError, match=r"\(ConnectionError\); .* download it to cache/a.pth by hand \(1.0 MB\)"):
        fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0)
    Path("cache/a.pth").write_bytes(CONTENT)
    assert fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0) == Path("cache/a.pth")
    Path("cache/a.pth").write_bytes(CONTENT[1:])
    found = hashlib.md5(CONTENT[1:]).hexdigest()
    with pytest.raises(InputError, match=f"^cache/a.pth: MD5 is {found}, expected {MD5}; remove it or put"):
        fetch(f"{server.url}/a.pth", Path("cache/a.pth"), MD5, 1.0)


def test_an_unpublished_hash_is_recorded_and_held_to(server, capfd):
    path = fetch(f"{server.url}/a.pth", Path("a.pth"), None, 1.0)
    assert f"a.pth: no published MD5; recorded {MD5} to verify later uses" in capfd.readouterr().err
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
    with pytest.raises(InputError, match="ResNet38_mAP=0.434.pth.part: MD5 is .* download it to cache"):
        embed_audio.main(Path("media.csv"), Path("a.npy"), "ResNet38", weights_dir=Path("cache"), mirror=server.url)
    assert server.requests[0] == "/ResNet38_mAP%3D0.434.pth?download=1"
