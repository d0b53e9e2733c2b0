"""The real data set: downloaded from a server that is slow, breaks off and lies, and unpacked where it belongs."""

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import download
import pytest
from conftest import ROOT

from scenes.dataset import archives, transfer
from scenes.stage.errors import InputError

NAME = "TAU-urban-audio-visual-scenes-2021-development"
OUT = Path("tau/clips")
STORE = Path("tau/archives")


def packed(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            file.writestr(info, data)
    return content.getvalue()


def media(kind: str, number: int) -> dict[str, bytes]:
    """Two files that do not compress, half a megabyte."""
    ending = {"audio": "wav", "video": "mp4"}[kind]
    names = [f"airport-oslo-{number}-{clip}" for clip in (1, 2)]
    return {f"{kind}/{name}.{ending}": hashlib.shake_128(name.encode()).digest(250_000) for name in names}


TREE = {
    "doc": {"README.md": b"about"},
    "meta": {"meta.csv": b"clips", "evaluation_setup/fold1_train.csv": b"train"},
    "examples": {"examples/audio/airport.wav": b"example"},
    **{f"{kind}.{number}": media(kind, number) for kind in ("audio", "video") for number in (1, 2)},
}
# Some archives have a top folder of their own, others have none.
ARCHIVES = {
    f"{NAME}.{part}.zip": packed({(f"{NAME}/" if part in ("meta", "audio.1") else "") + name: data
                                  for name, data in members.items()})
    for part, members in TREE.items()
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """A server of `files` that knows ranges; `faults` are answered first, one a request of the file.

    A fault is a status, or a function of the handler and the bytes that are due.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults = dict(ARCHIVES), {}
        self.ranges, self.requests = True, Counter()
        self.sent = []  # name and first byte of each answer
        self.url = f"http://127.0.0.1:{self.server_port}/files"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/files/").removesuffix("?download=1")
        self.server.requests[name] += 1
        if name not in self.server.files:
            return self.send_error(404)
        content = self.server.files[name]
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        start = int(asked) if self.server.ranges else 0
        fault = self.server.faults.get(name, []) and self.server.faults[name].pop(0)
        if isinstance(fault, int):
            self.send_response(fault)
            if fault == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.server.sent.append((name, start))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if fault:
            return fault(self, content[start:])
        self.wfile.write(content[start:])

    def log_message(self, *arguments):
        pass


def breaks_off(handler: Handler, content: bytes) -> None:
    handler.wfile.write(content[: len(content) // 2])


def stalls(handler: Handler, content: bytes) -> None:
    breaks_off(handler, content)
    handler.wfile.flush()
    threading.Event().wait(60)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        server.waits = []
        monkeypatch.setattr(transfer.time, "sleep", server.waits.append)
        write_table(server.files)
        yield server
        server.shutdown()


def write_table(files: dict[str, bytes]) -> None:
    rows = [f"{name},{len(content)},{hashlib.md5(content).hexdigest()}" for name, content in files.items()]
    Path("archives.csv").write_text("\n".join(["file,bytes,md5", *rows]) + "\n")


def run(server: Server, **options) -> None:
    download.main(Path("archives.csv"), OUT, **{"url": server.url, "at_once": 2, **options})


def tree(folder: Path = OUT) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(*parts: str) -> dict[str, bytes]:
    return {name: data for part in parts or TREE for name, data in TREE[part].items()}


def whole_blocks(size: int) -> int:
    return size // transfer.BLOCK * transfer.BLOCK


def kept() -> list[str]:
    """What lies in the archive folder besides the records of what was unpacked."""
    return sorted(path.name for path in STORE.iterdir() if path.suffix != ".csv")


def test_all_archives_are_unpacked_and_removed_and_a_second_run_asks_for_nothing(server, capfd):
    run(server)
    assert tree() == expected() and not kept()
    assert "100%" in capfd.readouterr().err
    run(server)
    assert tree() == expected() and set(server.requests.values()) == {1}


@pytest.mark.parametrize(
    ("subset", "parts"),
    [
        ("meta", ["doc", "meta"]),
        ("examples", ["doc", "meta", "examples"]),
        ("first", ["doc", "meta", "audio.1", "video.1"]),
    ],
)
def test_a_subset(server, subset, parts):
    run(server, subset=subset)
    assert tree() == expected(*parts)
    assert (OUT / "audio").is_dir() and (OUT / "video").is_dir()
    run(server)
    assert tree() == expected() and set(server.requests.values()) == {1}


def test_the_projects_table_is_the_published_record():
    """27 archives, 107.7 GB (Zenodo 4477542); audio 1 to 8 and video 1 to 16 among them."""
    table = archives.read_archives(ROOT / "checksums/tau.csv", "all")
    assert len(table) == 27 and round(sum(archive.bytes for archive in table) / 1e9, 1) == 107.7
    assert all(len(archive.md5) == 32 for archive in table)
    first = [archive.file for archive in archives.read_archives(ROOT / "checksums/tau.csv", "first")]
    assert first == [f"{NAME}.{part}.zip" for part in ("doc", "meta", "audio.1", "video.1")]


def test_a_broken_connection_is_taken_up_where_it_broke(server, capfd):
    name = f"{NAME}.video.1.zip"
    server.faults[name] = [breaks_off, breaks_off]
    run(server)
    assert tree() == expected() and not kept()
    first = whole_blocks(len(ARCHIVES[name]) // 2)
    second = first + whole_blocks((len(ARCHIVES[name]) - first) // 2)
    assert [start for sent, start in server.sent if sent == name] == [0, first, second]
    assert f"{name}: ChunkedEncodingError, retrying in 2 s" in capfd.readouterr().err


def test_a_server_that_knows_no_ranges_sends_it_anew(server):
    server.ranges = False
    server.faults[f"{NAME}.audio.1.zip"] = [breaks_off]
    run(server)
    assert tree() == expected()


def test_busy_servers_are_asked_again_later(server):
    server.faults = {f"{NAME}.audio.1.zip": [429], f"{NAME}.meta.zip": [503, 503, 503]}
    run(server)
    assert tree() == expected()
    assert sorted(server.waits) == [2, 4, 7, 8]  # 429 said when


def test_a_server_that_stays_busy_is_given_up_and_the_other_archives_go_on(server):
    name = f"{NAME}.audio.1.zip"
    server.faults[name] = [503] * 99
    with pytest.raises(InputError) as error:
        run(server)
    assert str(error.value) == (
        f"{server.url}/{name}?download=1: cannot be downloaded (HTTP status 503); rerun to resume"
    )
    assert server.requests[name] == transfer.RETRIES + 1 and server.waits[-1] == transfer.LONGEST_WAIT
    assert tree() == expected(*(part for part in TREE if part != "audio.1"))
    server.faults.clear()
    run(server)
    assert tree() == expected() and sum(server.requests.values()) == len(ARCHIVES) + transfer.RETRIES + 1


def test_a_wrong_mirror_is_named_in_one_line(server):
    with pytest.raises(InputError, match=r"cannot be downloaded \(HTTP status 404\); .* \(7 of 7 archives failed\)$"):
        run(server, url=f"{server.url}/wrong/")
    assert not tree() and not server.waits


def test_a_wrong_byte_is_never_unpacked(server):
    name = f"{NAME}.video.2.zip"
    content = bytearray(ARCHIVES[name])
    content[1000] ^= 1
    server.files[name] = bytes(content)
    with pytest.raises(InputError) as error:
        run(server)
    wrong, right = (hashlib.md5(data).hexdigest() for data in (bytes(content), ARCHIVES[name]))
    assert str(error.value) == (
        f"tau/archives/{name}.part: MD5 is {wrong}, expected {right}; it was removed; rerun, or name another mirror"
    )
    assert tree() == expected(*(part for part in TREE if part != "video.2")) and not kept()
    server.files[name] = ARCHIVES[name]
    run(server)
    assert tree() == expected()


@pytest.mark.parametrize(
    ("name", "links", "message"),
    [
        ("../evil", (), "holds '../evil', which leads out of its folder"),
        (f"{NAME}/../../evil", (), "which leads out of its folder"),
        ("/tmp/evil", (), "holds '/tmp/evil', which leads out of its folder"),
        ("..\\evil", (), "which leads out of its folder"),
        ("C:/evil", (), "which leads out of its folder"),
        ("audio/evil", ("audio/evil",), "holds 'audio/evil', a link or device"),
    ],
)
def test_an_archive_that_leads_out_of_its_folder_is_not_unpacked(server, name, links, message):
    server.files = {f"{NAME}.meta.zip": packed({"meta.csv": b"clips", name: b"/etc/passwd"}, links)}
    write_table(server.files)
    with pytest.raises(InputError) as error:
        run(server)
    assert message in str(error.value) and f"tau/archives/{NAME}.meta.zip: " in str(error.value)
    assert not tree() and not list(Path("..").rglob("*evil*"))


def test_a_file_that_is_no_archive(server):
    server.files = {f"{NAME}.meta.zip": b"<html>"}
    write_table(server.files)
    with pytest.raises(InputError, match=r"meta.zip: not a whole zip file .*; remove it and run again"):
        run(server)


def test_a_full_disk_is_noticed_before_downloading(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 1_000_000))
    with pytest.raises(InputError, match=r"^tau/clips: unpacking 7 archives needs 0.0 GB, 0.0 GB are free; make room$"):
        run(server)
    assert not server.requests


def test_disk_space_is_looked_at_before_each_archive_and_before_unpacking_it(server, monkeypatch):
    """Room for everything at the start, taken by something else meanwhile."""
    free = iter([10**9, 10**9, 100, *[10**9] * 3])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, next(free)))
    server.files = {f"{NAME}.audio.1.zip": ARCHIVES[f"{NAME}.audio.1.zip"]}
    write_table(server.files)
    with pytest.raises(InputError, match=rf"unpacking {NAME}.audio.1.zip needs 0.0 GB, 0.0 GB are free"):
        run(server)
    assert kept() == [f"{NAME}.audio.1.zip"] and not tree()
    run(server)
    assert tree() == expected("audio.1") and sum(server.requests.values()) == 1


def test_archives_may_be_kept_or_put_there_by_hand(server):
    STORE.mkdir(parents=True)
    for name in (f"{NAME}.audio.1.zip", f"{NAME}.meta.zip"):
        (STORE / name).write_bytes(ARCHIVES[name])
    run(server, keep_archives=True)
    assert tree() == expected() and kept() == sorted(ARCHIVES)
    assert f"{NAME}.audio.1.zip" not in server.requests
    run(server)
    assert tree() == expected() and not kept() and sum(server.requests.values()) == len(ARCHIVES) - 2


def test_an_archive_put_there_by_hand_is_held_to_its_hash(server):
    STORE.mkdir(parents=True)
    name = f"{NAME}.meta.zip"
    (STORE / name).write_bytes(packed({"meta.csv": b"other clips"}))
    message = f"^tau/archives/{name}: MD5 is .*; remove it or put the published file there$"
    with pytest.raises(InputError, match=message):
        run(server)
    assert tree() == expected(*(part for part in TREE if part != "meta")) and kept() == [name]


def test_a_damaged_file_fetches_its_archive_again_and_no_other(server):
    run(server)
    changed, gone = OUT / "audio/airport-oslo-1-1.wav", OUT / "video/airport-oslo-2-2.mp4"
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    gone.unlink()
    touched = OUT / "audio/airport-oslo-2-1.wav"
    os.utime(touched)
    server.requests.clear()
    run(server)
    assert tree() == expected()
    assert server.requests == {f"{NAME}.audio.1.zip": 1, f"{NAME}.video.2.zip": 1}


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_goes_on_where_it_stopped(server, kill):
    name = f"{NAME}.video.1.zip"
    server.faults[name] = [stalls]
    command = [sys.executable, ROOT / "stages/download.py", "archives.csv", OUT, "--url", server.url, "--at-once", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    half = whole_blocks(len(ARCHIVES[name]) // 2)
    while transfer.bytes_there(STORE / name) < half or len(list(STORE.glob("*.csv"))) < len(ARCHIVES) - 1:
        assert process.poll() is None, process.stderr.read()
        threading.Event().wait(0.02)
    process.send_signal(kill)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert tree() == expected(*(part for part in TREE if part != "video.1"))
    server.sent.clear()
    run(server)
    assert tree() == expected() and server.sent == [(name, half)]
