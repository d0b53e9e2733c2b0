"""Downloads of large files from slow servers: a broken connection is resumed where it broke."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import requests
from tqdm import tqdm

from scenes.stage.errors import InputError

RETRIES = 10  # failures in a row, without a byte between them
PASSING = {408, 416, 429, 500, 502, 503, 504}  # statuses after which it retries; after 416 from the start
LONGEST_WAIT = 120  # seconds, unless the server asks for more
TIMEOUT = 60  # seconds without an answer or a byte
BLOCK = 2**16  # bytes: what a broken connection loses at most


def download(
    url: str,
    path: Path,
    check: Callable[[Path], None],
    advance: Callable[[int], object],
    size: int | None = None,
    retries: int = RETRIES,
) -> None:
    """Download a file, check it and put it in place; resumes a partial download.

    After a failure (no connection, a broken one, a status such as 429 or 503) it waits, twice as long each time or as
    long as the server asks for, and resumes with an HTTP range. If several processes want the same file, one downloads
    it and the others wait.

    Parameters
    ----------
    url : str
    path : Path
        Where it belongs. `<path>.part` holds it until it is whole.
    check : callable
        Given the whole part; raises an InputError if it is another file.
    advance : callable
        Told how many bytes came, for a progress bar.
    size : int, optional
        Its bytes; where not known, what the server says.
    retries : int
        Failures in a row, without a byte between them, after which it is given up.

    Raises
    ------
    InputError
        If the server refuses it or fails time and again (the part is kept), or by the check (the part is removed).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, failures = _part(path), 0
    with _alone(part) as file, requests.Session() as session:
        if path.exists():  # by another process, meanwhile
            part.unlink(missing_ok=True)
            return
        while size is None or file.tell() < size:
            have = file.tell()
            try:
                _continue(session, url, file, advance)
                if size is None:
                    break
            except requests.RequestException as error:
                failures = 1 if file.tell() > have else failures + 1
                status = error.response.status_code if error.response is not None else None
                reason = f"HTTP status {status}" if status else type(error).__name__
                if status == requests.codes.requested_range_not_satisfiable:
                    if size is None and error.response.headers.get("Content-Range") == f"bytes */{have}":
                        break
                    _empty(file, advance)
                wrong_address = isinstance(error, ValueError)  # all that requests raises of one is
                if failures > retries or wrong_address or (status and status not in PASSING):
                    if not file.tell():
                        part.unlink()
                    raise InputError(f"{url}: cannot be downloaded ({reason}); rerun to resume") from error
                wait = _wait(error.response, failures)
                tqdm.write(f"{path.name}: {reason}, retrying in {wait} s", file=sys.stderr)
                time.sleep(wait)
        try:
            check(part)
        except InputError:
            part.unlink()
            raise
        part.replace(path)


def bytes_there(path: Path) -> int:
    """How much of a file is there, in place or as a part."""
    found = path if path.exists() else _part(path)
    return found.stat().st_size if found.exists() else 0


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """Open the part to append, in one process at a time; reopen it if another process moved or removed it meanwhile."""
    while True:
        with part.open("ab", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat()):
                file.seek(0, os.SEEK_END)
                yield file
                return


def _continue(session: requests.Session, url: str, file: BinaryIO, advance: Callable[[int], object]) -> None:
    have = file.tell()
    # Without compression in transit: a range counts the bytes of the file.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # from the start: this server knows no ranges
            _empty(file, advance)
            have = 0
        for block in response.iter_content(BLOCK):
            file.write(block)
            advance(len(block))
    if file.tell() <= have:
        raise requests.ConnectionError("the answer was empty")


def _empty(file: BinaryIO, advance: Callable[[int], object]) -> None:
    advance(-file.tell())
    file.seek(0)
    file.truncate()


def _wait(response: requests.Response | None, failures: int) -> int:
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return int(asked) if asked.isdigit() else min(2**failures, LONGEST_WAIT)
