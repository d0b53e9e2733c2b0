"""Wavs: what their headers say, also wrongly, and the fast way to read those that say nothing odd."""

import io
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import soundfile

from scenes.media.sound import Hearing, Sound

# Recorders and pipes that never learnt the length write 0, or about the largest number they can.
UNKNOWN = 0x7FFFF000
BLOCK = 2**19  # samples read at once: a clip of the data set
SUBTYPES = {"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"}


class Header(NamedTuple):
    """Where the samples of a wav are."""

    format: bytes  # the chunk that says how they are coded
    start: int  # of the samples, bytes into the file
    stated: int | None  # bytes of samples, None where the header does not know
    present: int  # bytes from their start to the file's end
    odd: bool  # a chunk of odd length lacks its pad byte: other readers do not find what follows

    @property
    def share(self) -> float:
        """The part of the stated samples that is there."""
        return min(1, self.present / self.stated) if self.stated else 1


def read_header(path: Path) -> Header | None:
    """Walk the chunks of a file; None if it is no wav or has no samples."""
    length = path.stat().st_size
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            return None
        form, odd = b"", False
        while len(head := file.read(8)) == 8:
            tag, size = struct.unpack("<4sI", head)
            if tag == b"data":
                start = file.tell()
                known = 0 < size < UNKNOWN or size and start + size <= length
                return Header(form, start, size if known else None, length - start, odd) if len(form) >= 16 else None
            if tag == b"fmt ":
                form = file.read(min(size, 64)).ljust(16, b"\0")
                file.seek(size - min(size, 64), io.SEEK_CUR)
            else:
                file.seek(size, io.SEEK_CUR)
            if size % 2:
                following = file.read(5)  # a pad byte and a tag, or a tag without it
                unpadded = following[:4] in (b"data", b"fmt ", b"LIST", b"fact") and following[0] != 0
                odd = odd or unpadded
                file.seek(-len(following) + (0 if unpadded else 1), io.SEEK_CUR)
    return None


class Spliced(io.RawIOBase):
    """An odd wav, its chunks before the samples replaced by a header that every reader understands."""

    def __init__(self, path: Path, header: Header):
        self.file, self.start, self.position = path.open("rb"), header.start, 0
        self.head = b"".join((
            struct.pack("<4sI4s", b"RIFF", min(header.present + 64, 2**32 - 1), b"WAVE"),
            struct.pack("<4sI", b"fmt ", len(header.format)), header.format,
            struct.pack("<4sI", b"data", min(header.stated or header.present, header.present)),
        ))  # fmt: skip

    def read(self, size: int = -1) -> bytes:
        data = self.head[self.position :][:size] if self.position < len(self.head) else b""
        if not data:
            self.file.seek(self.start + self.position - len(self.head))
            data = self.file.read(size)
        self.position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = len(self.head) + self.file.seek(0, io.SEEK_END) - self.start
        self.position = max(0, offset + (0, self.position, end)[whence])
        return self.position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def close(self) -> None:
        self.file.close()
        super().close()


class Plain:
    """A whole wav of one or two channels, which libsndfile reads as FFmpeg does and faster.

    It has the interface of `scenes.media.container.Media`.
    """

    has_sound, has_pictures = True, False

    def __init__(self, path: Path):
        self.file = soundfile.SoundFile(os.fsencode(path))
        self.name, self.warnings, self.channels = str(path), [], self.file.channels
        self.seconds = self.file.frames / self.file.samplerate
        self.streams = [f"audio {self.file.subtype.lower()}, {self.file.samplerate} Hz, {self.file.channels} channels"]

    def blocks(
        self, *, sound: bool = True, pictures: bool = True, rate: int | None = None, until: float = math.inf
    ) -> Iterator[Sound]:
        """See `Media.blocks`."""
        hearing = Hearing(self.name, rate)
        while sound and hearing.end <= until and len(samples := self.file.read(BLOCK, dtype="float32", always_2d=True)):
            yield from hearing.put(samples.T, self.file.samplerate)
        yield from hearing.close()

    def close(self) -> None:
        self.file.close()


def open_plain(path: Path, header: Header) -> Plain | None:
    """Open a wav by libsndfile, if it is one for it."""
    if header.odd or not header.stated or header.share < 1:
        return None
    try:
        plain = Plain(path)
    except soundfile.LibsndfileError:
        return None
    if plain.file.subtype in SUBTYPES and plain.file.channels <= 2 and plain.file.format in ("WAV", "WAVEX"):
        return plain
    plain.close()
    return None
