"""The archives of a published data set: which there are, unpacking them safely, and telling what is unpacked whole."""

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from scenes.stage.errors import InputError
from scenes.stage.outputs import write_csv, writing

# Parts of the data set, as regular expressions.
SUBSETS = {"meta": "doc|meta", "examples": "doc|meta|examples", "first": r"doc|meta|audio\.1|video\.1", "all": ".+"}
BLOCK = 2**20  # bytes read at a time


class Archive(NamedTuple):
    """A published file, `<data set>.<part>.zip`."""

    file: str
    bytes: int
    md5: str

    @property
    def unpacked(self) -> float:
        """Its bytes when unpacked, estimated: 12,291 wavs of 2.88 MB are packed in 30.4 GB, films hardly are."""
        return self.bytes * (1.2 if ".audio." in self.file else 1.02)


def read_archives(path: Path, subset: str) -> list[Archive]:
    """Read the table `file,bytes,md5` of a data set's archives, those of one of `SUBSETS`.

    Raises
    ------
    InputError
        If the columns are others.
    """
    table = pd.read_csv(path)
    if list(table.columns) != list(Archive._fields):
        raise InputError(f"{path}: the columns must be {', '.join(Archive._fields)}, found {', '.join(table.columns)}")
    part = re.compile(rf"[^.]+\.({SUBSETS[subset]})\.zip")
    return [Archive(*row) for row in table.itertuples(index=False) if part.fullmatch(row.file)]


def unpack(archive: Path, folder: Path, record: Path) -> None:
    """Unpack an archive into a folder, without the archive's own top folder `TAU-...`, and write down what it held.

    Parameters
    ----------
    archive : Path
        A zip file.
    folder : Path
        Where its files go; one that is there already is replaced.
    record : Path
        Table `file,bytes,crc32,mtime_ns` for `is_unpacked`, written last.

    Raises
    ------
    InputError
        If the archive cannot be read, or holds a name that leads out of the folder, or a link (nothing is unpacked
        then), or needs more room than there is.
    """
    rows = []
    try:
        with zipfile.ZipFile(archive) as file:
            members = {_name(info, archive): info for info in file.infolist() if not info.is_dir()}
            check_disk(folder, sum(info.file_size for info in members.values()), f"unpacking {archive.name}")
            for name, info in members.items():
                path = folder / name
                with writing(path) as temporary, file.open(info) as source, temporary.open("wb") as sink:
                    shutil.copyfileobj(source, sink, BLOCK)
                rows.append((name, info.file_size, info.CRC, path.stat().st_mtime_ns))
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{archive}: not a whole zip file ({error}); remove it and run again") from error
    write_csv(record, pd.DataFrame(rows, columns=["file", "bytes", "crc32", "mtime_ns"]))


def _name(info: zipfile.ZipInfo, archive: Path) -> str:
    """The member's place in the folder, if it stays there and is a plain file."""
    mode = info.external_attr >> 16
    parts = PurePosixPath(info.filename).parts
    if ".." in parts or info.filename.startswith("/") or "\\" in info.filename or ":" in info.filename:
        raise InputError(f"{archive}: holds {info.filename!r}, which leads out of its folder; do not use this archive")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise InputError(f"{archive}: holds {info.filename!r}, a link or device; do not use this archive")
    return "/".join(parts[1:] if len(parts) > 1 and parts[0].startswith("TAU-") else parts)


def is_unpacked(record: Path, folder: Path) -> bool:
    """Whether all files that `unpack` wrote down are there and whole.

    A file of the recorded size and time is; one of another time is read and held to its checksum.
    """
    return record.exists() and all(_is_whole(folder / row.file, row) for row in pd.read_csv(record).itertuples())


def _is_whole(path: Path, row: tuple) -> bool:
    if not path.is_file() or path.stat().st_size != row.bytes:
        return False
    return path.stat().st_mtime_ns == row.mtime_ns or _crc32(path) == row.crc32


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def check_disk(folder: Path, need: float, purpose: str) -> None:
    """Have so many bytes free on the folder's disk.

    Raises
    ------
    InputError
        If they are not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < need:
        raise InputError(f"{folder}: {purpose} needs {need / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free; make room")
