"""Downloading large files from a slow server: broken connections are taken up again where they broke."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests
from tqdm import tqdm

from scenes.dataset.weights import verify
from scenes.stage.errors import InputError

RETRIES = 10  # failures in a row, without a byte between them
PASSING = {408, 429, 500, 502, 503, 504}  # statuses that say: later
LONGEST_WAIT = 120  # seconds, unless the server asks for more
TIMEOUT = 60  # seconds without an answer or a byte
BLOCK = 2**16  # bytes: what a broken connection loses at most


def download(url: str, path: Path, size: int, md5: str, advance: Callable[[int], None]) -> None:
    """Download a published file, hold it to its MD5 and put it in place; what an earlier run left off is continued.

    After a failure (no connection, a broken one, a status such as 429 or 503) it waits, twice as long each time or as
    long as the server asks for, and goes on by an HTTP range.

    Parameters
    ----------
    url : str
    path : Path
        Where it belongs. `<path>.part` holds it until it is whole.
    size : int
        Its bytes.
    md5 : str
    advance : callable
        Told how many bytes came, for a progress bar.

    Raises
    ------
    InputError
        If the server refuses it or fails time and again (the part is kept), or if its hash is another (it is removed).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, failures = _part(path), 0
    with requests.Session() as session:
        while (have := bytes_there(path)) < size:
            try:
                _continue(session, url, part, have, advance)
            except requests.RequestException as error:
                failures = 1 if bytes_there(path) > have else failures + 1
                status = error.response.status_code if error.response is not None else None
                reason = f"HTTP status {status}" if status else type(error).__name__
                if failures > RETRIES or (status and status not in PASSING):
                    raise InputError(f"{url}: cannot be downloaded ({reason}); run again to go on") from error
                wait = _wait(error.response, failures)
                tqdm.write(f"{path.name}: {reason}, going on in {wait} s", file=sys.stderr)
                time.sleep(wait)
    try:
        verify(part, md5, "it is removed: run again, or name another mirror")
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


def _continue(session: requests.Session, url: str, part: Path, have: int, advance: Callable[[int], None]) -> None:
    # Without compression in transit: a range counts the bytes of the file.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:  # from the start: this server knows no ranges
            advance(-have)
            part.unlink(missing_ok=True)
        with part.open("ab", buffering=0) as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                advance(len(block))
    if part.stat().st_size <= have:
        raise requests.ConnectionError("the answer was empty")


def _wait(response: requests.Response | None, failures: int) -> int:
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return int(asked) if asked.isdigit() else min(2**failures, LONGEST_WAIT)
