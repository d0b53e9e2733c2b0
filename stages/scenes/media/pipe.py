"""Standard input as a file that can be sought in."""

import math
from typing import BinaryIO


class Pipe:
    """A pipe that can be sought in, as videos need whose index is at their end: what was read is kept on disk."""

    def __init__(self, source: BinaryIO, kept: BinaryIO):
        self.source, self.kept, self.length, self.position = source, kept, 0, 0

    def read(self, size: int) -> bytes:
        self._keep(self.position + size)
        self.kept.seek(self.position)
        data = self.kept.read(size)
        self.position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            self._keep(math.inf)
        self.position = offset + (0, self.position, self.length)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def _keep(self, end: float) -> None:
        self.kept.seek(self.length)
        while self.length < end and (block := self.source.read1(2**16)):
            self.length += self.kept.write(block)
