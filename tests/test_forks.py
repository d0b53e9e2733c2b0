"""Scripts in forks: as far as they can see, the processes that a shell would have started."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from scenes.scheduling import process
from scenes.scheduling.commands import PATIENCE, execute
from scenes.scheduling.forks import Forks, parsed

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or torch.accelerator.is_available(), reason="forks are for Linux without a GPU"
)

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
    for kind in made.kinds.values():
        for fork in kind.idle:
            fork.kill_group()


@pytest.fixture
def interrupt():
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def wait_for(condition) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def ended(start, command: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Exit code and outputs of a command."""
    with (folder / "log").open("wb") as output:
        running = start(command, str(folder), variables, output)
        wait_for(lambda: running.poll() is not None)
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
            "! python a.py", "python a.py {b,c}", "python a.py {1..3}", "python a.py 'b", "PATH=/ python a.py",
            "PYTHONPATH=a python a.py",
        )),
    ],
)  # fmt: skip
def test_what_only_a_shell_understands_is_left_to_it(command, expected):
    assert parsed(command) == expected


@pytest.mark.parametrize("ignored", [False, True], ids=["", "Ctrl-C ignored, as in the background"])
def test_a_script_sees_what_it_sees_in_a_process_of_its_own(forks, folder, monkeypatch, interrupt, ignored):
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    for name in ("KERAS_BACKEND", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name)
    (folder / "seen.py").write_text(SEEN)
    command = "SCENES_TRIED='a b' python seen.py --option '1 2' {x}"
    expected = ended(process.start, command, folder, DVC_STAGE="x")
    assert ("default_int_handler" in expected[1]) != ignored
    assert expected[0] == 0 and "'a b'" in expected[1] and expected[1].endswith("first beside\n")
    for _ in range(2):  # the second is of a process that has run one
        assert ended(forks.start, command, folder, DVC_STAGE="x") == expected
    assert len(forks.kinds[("SCENES_TRIED=a b",)].idle) == 1


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
    assert len(forks.kinds[()].idle) == 1


def test_a_traceback_is_the_scripts_alone(forks, folder):
    (folder / "script.py").write_text("def divide():\n    1 / 0\n\ndivide()\n")
    code, text = ended(forks.start, "python script.py", folder)
    assert code == 1 and text.count("File ") == 2 and text.count("script.py") == 2


def test_forks_draw_numbers_of_their_own(forks, folder):
    (folder / "script.py").write_text("import numpy, random; print(numpy.random.rand(), random.random())")
    texts = {ended(forks.start, "python script.py", folder)[1] for _ in range(2)}
    assert len(texts) == 2 and len({word for text in texts for word in text.split()}) == 4


def test_the_embeddings_set_up_their_threads_before_torch_is_there(forks, folder, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    (folder / "script.py").write_text("import os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)")
    assert ended(forks.start, "OMP_NUM_THREADS=1 python script.py", folder) == (0, "1000 True\n")


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
        ("CUDA_VISIBLE_DEVICES=0 python script.py", {}, "linux"),
        ("python script.py", {}, "darwin"),
        ("python script.py && true", {}, "linux"),
        (f"python script.py {60_000 * 'a'}", {}, "linux"),
    ],
)
def test_where_a_fork_may_break_a_library_there_is_none(forks, folder, monkeypatch, command, variables, platform):
    monkeypatch.setattr(sys, "platform", platform)
    (folder / "script.py").write_text("import sys; print('run', 'pandas' in sys.modules)")
    for _ in range(2):
        assert ended(forks.start, command, folder, **variables) == (0, "run False\n")
    assert not any(kind.idle for kind in forks.kinds.values())


def test_a_script_that_is_not_there_is_pythons_to_miss(forks, folder):
    code, text = ended(forks.start, "python script.py", folder)
    assert code == 2 and "can't open file" in text


def test_where_the_libraries_find_a_gpu_there_is_no_fork(forks, folder, monkeypatch):
    """Made up by a torch that has found one; other commands are still forks."""
    (folder / "sitecustomize.py").write_text(
        "import os, sys, types\n"
        "if 'GPU' in os.environ:\n"
        "    there = types.SimpleNamespace(is_available=lambda: True)\n"
        "    sys.modules['torch'] = types.SimpleNamespace(accelerator=there)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "script.py").write_text("import sys; print('run', 'pandas' in sys.modules)")
    for _ in range(2):
        assert ended(forks.start, "GPU=1 python script.py", folder) == (0, "run False\n")
        assert ended(forks.start, "python script.py", folder) == (0, "run True\n")
    assert not forks.kinds[("GPU=1",)].usable


def test_two_at_once_are_forks_of_two_processes(forks, folder):
    (folder / "script.py").write_text(
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').close()\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.01)\n"
    )
    with (folder / "log").open("wb") as output:
        both = [forks.start(f"python script.py {words}", str(folder), {}, output) for words in ("a b", "b a")]
        wait_for(lambda: None not in [running.poll() for running in both])
        for running in both:
            running.leave()
    assert [running.returncode for running in both] == [0, 0] and len(forks.kinds[()].idle) == 2


SLEEPING = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_whole_group_is_killed(forks, folder, number):
    (folder / "script.py").write_text(SLEEPING)
    log = folder / "log"
    with log.open("wb") as output:
        running = forks.start("python script.py", str(folder), {}, output)
    wait_for(lambda: running.poll() is None and log.read_text().endswith("\n"))
    if number == signal.SIGTERM:
        running.terminate_group()
        wait_for(lambda: running.poll() is not None)
    assert running.kill_group() == (7 if number == signal.SIGTERM else -9)
    wait_for(lambda: gone(int(log.read_text())))


def test_a_script_does_not_outlive_the_process_that_it_is_a_fork_of(forks, folder):
    (folder / "script.py").write_text(SLEEPING)
    log = folder / "log"
    with log.open("wb") as output:
        running = forks.start("python script.py", str(folder), {}, output)
        wait_for(lambda: running.poll() is None and log.read_text().endswith("\n"))
        os.kill(running._process.pid, signal.SIGKILL)
        wait_for(lambda: running.poll() is not None)
        running.leave()
    assert running.returncode == -9 and not forks.kinds[()].idle
    wait_for(lambda: gone(int(log.read_text())))


def test_an_idle_process_that_was_killed_costs_no_command(forks, folder):
    (folder / "script.py").write_text("print('run')")
    for _ in range(3):
        assert ended(forks.start, "python script.py", folder) == (0, "run\n")
        for fork in forks.kinds[()].idle:
            os.kill(fork._process.pid, signal.SIGKILL)


def test_what_is_no_longer_wanted_ends_at_once_also_before_it_has_begun(forks, folder):
    """While libraries are imported, and right after a fork."""
    (folder / "script.py").write_text("print('run')")
    for warm in (False, True):
        if warm:
            ended(forks.start, "python script.py", folder)
        (folder / "script.py").write_text("import time; time.sleep(1000)")
        start = time.monotonic()
        code = execute(forks.start, lambda: False, ["python script.py"], str(folder), {}, folder / "log")
        assert code == -signal.SIGTERM and time.monotonic() - start < PATIENCE
        (folder / "script.py").write_text("print('run')")
