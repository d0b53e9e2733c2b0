"""The small library that the stage scripts share: formats, spectrograms, networks, fusion, evaluation.

It is imported before any of its modules, and so before librosa and matplotlib, which both keep a cache in the user's
cache folder. Where that cannot be written to (a container, another user), librosa would end with a traceback.
"""

import os
import tempfile
from pathlib import Path

try:
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    _cache.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=_cache).close()
except (OSError, RuntimeError):  # the latter: no home folder is known
    _cache = Path(tempfile.gettempdir(), f"audio-visual-scenes-{os.getuid()}")
    _cache.mkdir(mode=0o700, exist_ok=True)
    if _cache.stat().st_uid != os.getuid():  # librosa would execute what another user has put there
        _cache = Path(tempfile.mkdtemp())
    os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache / "numba"))
    os.environ.setdefault("MPLCONFIGDIR", str(_cache / "matplotlib"))
