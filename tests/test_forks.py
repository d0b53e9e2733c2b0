"""Scripts in forks: as far as they can see, the processes that a shell would have started."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from scenes.scheduling import process
from scenes.scheduling.forks import Forks, parsed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux alone")

SEEN = """
import os, signal, sys
print(sys.argv, __name__, __file__, sys.path, os.getcwd())
print(*(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)))
print(sorted(item for item in os.environ.items() if item[0] not in ("_", "SHLVL", "PWD", "OLDPWD")))
print(*sorted(os.readlink(f"/proc/self/fd/{number}") for number in range(3)))
print([name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}") and int(name) > 2])
print("to the other output", file=sys.stderr)
import beside
print(beside.WORD, beside.__name__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of scripts, two folders down."""
    made = tmp_path / "a folder/scripts"
    made.mkdir(parents=True)
    (made / "beside.py").write_text("WORD = 'first'\n")
    return made


@pytest.fixture
def forks():
    made = Forks()
    yield made
    for idle in made.idle.values():
        for fork in idle:
            fork.kill_group()


def ended(start, command: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Exit code and outputs of a command."""
    with (folder / "log").open("wb") as output:
        running = start(command, str(folder), variables, output)
        while running.poll() is None:
            time.sleep(0.01)
        running.leave()
    return running.returncode, (folder / "log").read_text()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python stages/a.py data/b.npy --c '1 2'", ([], ["stages/a.py", "data/b.npy", "--c", "1 2"])),
        ("A=1 B='2 3' python a.py x=1 {y}", (["A=1", "B=2 3"], ["a.py", "x=1", "{y}"])),
        *((command, ([], [])) for command in (
            "", "A=1", "python", "python -c 'print(1)'", "python3 a.py", "A=1 env python a.py", "echo a.py",
            "python a.py > log", "python a.py && true", "python a.py $HOME", "python a.py `true`", "python a.py *",
            "python a.py ~", "python a.py\ntrue", "cd x; python a.py", "python a.py # all", "(python a.py)",
            "! python a.py",
        )),
    ],
)  # fmt: skip
def test_what_only_a_shell_understands_is_left_to_it(command, expected):
    assert parsed(command) == expected


def test_a_script_sees_what_it_sees_in_a_process_of_its_own(forks, folder):
    (folder / "seen.py").write_text(SEEN)
    command = "OMP_NUM_THREADS=1 SCENES_TRIED='a b' python seen.py --option '1 2' {x}"
    expected = ended(process.start, command, folder, DVC_STAGE="x")
    assert expected[0] == 0 and "'a b'" in expected[1] and expected[1].endswith("first beside\n")
    for _ in range(2):  # the second is of a process that has run one
        assert ended(forks.start, command, folder, DVC_STAGE="x") == expected
    assert len(forks.idle["OMP_NUM_THREADS=1", "SCENES_TRIED=a b"]) == 1


@pytest.mark.parametrize(
    ("script", "code", "last"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('error: wrong')", 1, "error: wrong"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
        ("import atexit; atexit.register(print, 'over'); print('whole', end=' ')", 0, "whole over"),
    ],
)
def test_however_a_script_ends_it_is_said_and_the_next_one_runs(forks, folder, script, code, last):
    (folder / "script.py").write_text(script)
    for _ in range(2):
        ended_with, text = ended(forks.start, "python script.py", folder)
        assert (ended_with, text.strip().rpartition("\n")[2]) == (code, last)
    assert len(forks.idle[()]) == 1


def test_libraries_are_there_and_the_projects_code_is_read_anew(forks, folder):
    (folder / "scenes").mkdir()
    script = "import sys; print('torch' in sys.modules, 'keras' in sys.modules, 'scenes' in sys.modules); import scenes"
    (folder / "script.py").write_text(f"{script}; print(scenes.WORD)")
    for word in ("before", "after its change"):
        (folder / "scenes/__init__.py").write_text(f"WORD = {word!r}\n")
        command = "OMP_NUM_THREADS=1 KERAS_BACKEND=torch python script.py"
        assert ended(forks.start, command, folder) == (0, f"True True False\n{word}\n")


def test_it_computes_what_it_computes_in_a_process_of_its_own(forks, folder):
    """Also with several threads, which a fork does not inherit."""
    (folder / "script.py").write_text(
        f"import sys; sys.path[0] = {str(ROOT / 'stages')!r}\n"
        "from scenes.learning.backend import keras\n"
        "import numpy, pandas, torch\n"
        "keras.utils.set_random_seed(1)\n"
        "layer = keras.layers.Conv2D(64, 3)\n"
        "x = numpy.random.default_rng(0).normal(size=(8, 32, 32, 64)).astype('float32')\n"
        "y = layer(x)\n"
        "y.sum().backward()\n"
        "print(torch.get_num_threads(), hash(y.detach().numpy().tobytes()), float(layer.kernel.value.grad.sum()))\n"
        "print(numpy.linalg.norm(numpy.dot(x.reshape(-1, 256).T, x.reshape(-1, 256))))\n"
    )
    for threads in (1, 2):
        command = f"PYTHONHASHSEED=0 OMP_NUM_THREADS={threads} KERAS_BACKEND=torch python script.py"
        expected = ended(process.start, command, folder)
        assert expected[0] == 0 and expected[1].startswith(f"{threads} ")
        assert [ended(forks.start, command, folder) for _ in range(2)] == [expected] * 2


@pytest.mark.parametrize(
    ("command", "variables", "platform"),
    [
        ("KERAS_BACKEND=tensorflow python script.py", {}, "linux"),
        ("KERAS_BACKEND=jax python script.py", {}, "linux"),
        ("KERAS_BACKEND=nothing python script.py", {}, "linux"),
        ("python script.py", {"CUDA_VISIBLE_DEVICES": "0"}, "linux"),
        ("python script.py", {}, "darwin"),
        ("python script.py && true", {}, "linux"),
    ],
)
def test_where_a_fork_may_break_a_library_there_is_none(folder, monkeypatch, command, variables, platform):
    monkeypatch.setattr(sys, "platform", platform)
    forks = Forks()
    (folder / "script.py").write_text("print('run')")
    with (folder / "log").open("wb") as output:
        running = forks.start(command, str(folder), variables, output)
        assert isinstance(running, process.Process) and running.wait() == 0
    running.leave()
    assert (folder / "log").read_text() == "run\n"


def test_what_the_libraries_find_on_a_machine_with_a_gpu_is_not_forked(forks, folder, monkeypatch):
    """Made up by a torch that has found one."""
    (folder / "sitecustomize.py").write_text(
        "import sys, types; sys.modules['torch'] = types.SimpleNamespace(accelerator=types.SimpleNamespace("
        "is_available=lambda: True))"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "script.py").write_text("print('run')")
    with (folder / "log").open("wb") as output:
        for _ in range(2):
            running = forks.start("python script.py", str(folder), {}, output)
            assert isinstance(running, process.Process) and running.wait() == 0
            running.leave()


def test_two_at_once_are_forks_of_two_processes(forks, folder):
    (folder / "script.py").write_text(
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').close()\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
    )
    with (folder / "log").open("wb") as output:
        both = [forks.start(f"python script.py {words}", str(folder), {}, output) for words in ("a b", "b a")]
        while None in [running.poll() for running in both]:
            time.sleep(0.01)
        for running in both:
            running.leave()
    assert [running.returncode for running in both] == [0, 0] and len(forks.idle[()]) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_whole_group_is_killed(forks, folder, number):
    (folder / "script.py").write_text(
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    log = folder / "log"
    with log.open("wb") as output:
        running = forks.start("python script.py", str(folder), {}, output)
    while not log.read_text().endswith("\n"):
        time.sleep(0.01)
    if number == signal.SIGTERM:
        os.killpg(running.pid, number)
        while running.poll() is None:
            time.sleep(0.01)
    assert running.kill_group() == (7 if number == signal.SIGTERM else -9)
    child = Path("/proc", log.read_text().strip())
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2]:
        time.sleep(0.01)
