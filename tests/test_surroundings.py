"""Machines that are not as usual: no home, another encoding, another Python, folders that nobody may write to."""

import ast
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run

from scenes.dataset.weights import FOLDER, fetch
from scenes.stage.errors import InputError

BIN = Path(sys.executable).parent


@pytest.mark.parametrize("home", [{"HOME": "/dev/null"}, {"XDG_CACHE_HOME": "~nobody of this name/cache"}])
def test_no_cache_folder_is_needed(tmp_path, home):
    """librosa's own folder, where its compiler would keep its cache, is taken for one that cannot be written to."""
    environment = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "MPLCONFIGDIR")}
    environment |= {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator,UserWideCacheLocator"}
    environment |= {"PYTHONPATH": str(ROOT / "stages"), "TMPDIR": str(tmp_path), **home}
    code = "import numpy, scenes.features.spectrogram; scenes.features.spectrogram.mel(numpy.zeros((1, 480_000)))"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (folder,) = tmp_path.iterdir()
    assert (folder / "numba").is_dir() and stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("folder", [FOLDER, Path("~nobody of this name"), Path("file/folder")])
def test_a_folder_of_weights_that_cannot_be_written_to_is_named_with_what_to_do(monkeypatch, folder):
    monkeypatch.setenv("HOME", "/dev/null")
    Path("file").touch()
    with pytest.raises(InputError, match="(audio-visual-scenes|name|folder): cannot be written to .*SCENES_WEIGHTS$"):
        fetch("http://127.0.0.1:9/a.pth", folder / "a.pth", None, 1.0)


def test_files_are_utf8_whatever_the_locale():
    for path in (ROOT / "stages").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                name, mode = ast.unparse(call.func), [ast.unparse(word) for word in call.args][-1:]
                opens = name.endswith("open") and name != "av.open" and mode in ([], ["'r'"], ["'w'"], ["'a'"], ["'x'"])
                if opens or name.endswith((".read_text", ".write_text")):
                    assert any(word.arg == "encoding" for word in call.keywords), f"{path}:{call.lineno}"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 1, "gradio: not installed; run make app, which installs it and starts the page"),
        (["--rule", "median"], 2, "--rule median: 'median' is not one of 'mean', 'prod', 'max'."),
    ],
)
def test_the_page_says_what_it_lacks_before_it_loads_anything(monkeypatch, options, code, message):
    monkeypatch.setitem(sys.modules, "gradio", None)
    result = run("serve.py", *options, "--checkout", "nowhere")
    assert (result.returncode, result.stderr) == (code, f"error: {message}\n")


def test_dvc_runs_the_stages_by_the_python_of_the_environment(tmp_path):
    """From another folder, where another Python comes first in PATH and none may look for modules beside a script."""
    for command in (["git", "init", "-q"], [BIN / "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    shutil.copy(ROOT / "dvc", tmp_path)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "other/python").chmod(0o755)
    command = f"python -c 'import sys; print(sys.executable)' > out && python {ROOT}/stages/fuse.py --help"
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  a:\n    cmd: {command}\n    outs: [out]\n")
    environment = {**os.environ, "PATH": f"{tmp_path}/other:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    result = subprocess.run(
        ["../dvc", "repro", "-q", "../dvc.yaml:a"], cwd="other", env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out").read_text() == f"{tmp_path}/.venv/bin/python\n"


def test_dvc_without_the_environment_says_how_to_set_it_up(tmp_path):
    shutil.copy(ROOT / "dvc", tmp_path)
    result = subprocess.run(["./dvc", "repro"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        1,
        f"error: {tmp_path}/.venv/bin/dvc: not found; set up .venv: make\n",
    )
