"""Published weights: downloaded once into a folder, their hashes verified at every use."""

import hashlib
import sys
import tempfile
from functools import partial
from pathlib import Path

from tqdm import tqdm

from scenes.dataset.transfer import bytes_there, download
from scenes.stage.errors import InputError, OutputError
from scenes.stage.outputs import naming, writing

FOLDER = Path("~/.cache/audio-visual-scenes")
RETRIES = 2
FIX = "remove it or put the published file there"


def fetch(url: str, path: Path, md5: str | None, megabytes: float, blob: str | None = None) -> Path:
    """Have a published file in place: download it unless it is there, and hold it to its hash.

    Parameters
    ----------
    url : str
        Where it is published.
    path : Path
        Where it belongs; `~` is the home folder. A file put there by hand is as good as a downloaded one.
    md5 : str or None
        Its MD5; None where none is published, as for `verify`.
    megabytes : float
        Its size, for telling the user.
    blob : str, optional
        The SHA-1 of a file that is published in a Git repository, as for `verify_blob`; its MD5 is not asked for then.

    Returns
    -------
    Path
        `path`, without `~`.

    Raises
    ------
    InputError
        If it cannot be downloaded, its folder cannot be written to, or its hash is another.
    """
    try:
        path = path.expanduser()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
    except (OSError, RuntimeError) as error:  # the latter: no home folder is known
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path.parent}: cannot be written to ({reason}); name another folder by the variable SCENES_WEIGHTS"
        ) from error

    def check(file: Path, fix: str = FIX) -> None:
        if blob:
            verify_blob(file, blob, fix)
        elif md5 or file == path:  # a part without a published hash cannot be verified
            verify(file, md5, fix)

    if not path.exists():
        there, size = bytes_there(path), round(megabytes * 1e6)
        try:
            with naming(path), tqdm(total=size, initial=there, desc=path.name, unit="B", unit_scale=True) as bar:
                download(url, path, partial(check, fix="it was removed; rerun"), bar.update, retries=RETRIES)
        except OutputError:
            raise
        except InputError as error:
            raise InputError(f"{error}, or download it to {path} by hand ({megabytes:,.1f} MB)") from error
    check(path)
    return path


def verify(path: Path, md5: str | None, fix: str = FIX) -> None:
    """Verify a file's MD5; if none is published, that of its first use, which is recorded in `<file>.md5`.

    Parameters
    ----------
    path : Path
        The file.
    md5 : str or None
        Its published MD5.
    fix : str
        What the error tells the user to do.

    Raises
    ------
    InputError
        If the hash is another.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    record = path.with_name(f"{path.name}.md5")
    if md5 is None and not record.exists():
        with writing(record) as temporary:
            temporary.write_text(f"{found}  {path.name}\n", encoding="utf-8")
        print(f"{path}: no published MD5; recorded {found} to verify later uses", file=sys.stderr)
    expected = md5 or record.read_text(encoding="utf-8")[:32]
    if found != expected:
        raise InputError(f"{path}: MD5 is {found}, expected {expected}; {fix}")


def verify_blob(path: Path, sha1: str, fix: str = FIX) -> None:
    """Verify the SHA-1 that Git gives a file: that of the word blob, its size, a zero byte and its content.

    Raises
    ------
    InputError
        If the hash is another.
    """
    content = path.read_bytes()
    found = hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
    if found != sha1:
        raise InputError(f"{path}: Git's SHA-1 is {found}, expected {sha1}; {fix}")
