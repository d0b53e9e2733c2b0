"""What goes wrong in a file, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import av

from scenes.stage.errors import InputError, one_line


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Say in one line what goes wrong in FFmpeg's or the system's hands, of whatever type: files hold any bytes.

    Raises
    ------
    InputError
    """
    try:
        yield
    except (InputError, FileNotFoundError, PermissionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: {error.strerror.lower()}; check the path") from error
    except Exception as error:
        what = one_line(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")
        if isinstance(error, av.FFmpegError) or not isinstance(error, OSError):
            what = f"empty, truncated or not an audio or video file ({what})"
        raise InputError(f"{name}: {what}; restore it") from error
