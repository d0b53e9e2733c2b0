"""Opening a recording, whatever its container: a file, a file object, standard input."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import av

from scenes.media.faults import reading
from scenes.media.pipe import Pipe
from scenes.media.tracks import Media
from scenes.media.wave import Plain, Spliced, open_plain, read_header
from scenes.stage.errors import InputError

# Pixels of a frame, twice 8K: a damaged header may state more, which takes the memory.
LARGEST = 2**26


@contextmanager
def open_media(source: Path | str | BinaryIO, needs: str = "") -> Iterator[Media | Plain]:
    """Open a recording, to be read once from its start.

    Parameters
    ----------
    source : Path, str or file object
        A file, whose content and not its ending says what it is; `-` is standard input.
    needs : str
        `audio` or `video`, if it is of no use without.

    Raises
    ------
    InputError
        If it is missing, empty, neither audio nor video, or lacks what is needed.
    """
    with ExitStack() as stack:
        name = str(source) if isinstance(source, Path | str) else getattr(source, "name", "file object")
        name, share = "standard input" if source == "-" else name, 1
        if source == "-":
            source = Pipe(sys.stdin.buffer, stack.enter_context(tempfile.TemporaryFile()))
        elif isinstance(source, Path | str):
            path = Path(source)
            with reading(name):
                size, header = path.stat().st_size, read_header(path)
            if not size:
                raise InputError(f"{name}: empty file; restore it or remove its clip from the setup file")
            if plain := header and open_plain(path, header):
                stack.callback(plain.close)
                yield _with(plain, needs)
                return
            share = header.share if header else 1
            source = stack.enter_context(Spliced(path, header)) if header and header.odd else f"file:{path}"
        with reading(name):
            container = av.open(source, metadata_errors="replace", options={"max_pixels": str(LARGEST)})
        yield _with(Media(name, stack.enter_context(container), share), needs)


def _with(media: Media | Plain, needs: str) -> Media | Plain:
    if not {"": True, "audio": media.has_sound, "video": media.has_pictures}[needs]:
        why = "".join(f" ({warning})" for warning in media.warnings)
        raise InputError(
            f"{media.name}: has no {needs}{why}; use a file with {needs} or remove its clip from the setup file"
        )
    return media
