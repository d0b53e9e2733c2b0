"""The scheduler: what `dvc repro` makes, side by side; and what becomes of it when something goes wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run
from dvc.repo import Repo

from scenes.scheduling.stages import read_graph, record

REPRO = [sys.executable, str(ROOT / "stages/repro.py")]

# Files of a folder, a list of commands, parameters, members, metrics in Git, a second dvc.yaml, long lines.
PIPELINE = {
    "dvc.yaml": {
        "start": {"cmd": ["mkdir folder", "echo 1 > folder/a", "echo ${text} > folder/b"],
                  "params": ["text"], "deps": ["source"], "outs": ["folder"]},
        "member": {"foreach": ["x", "y"],
                   "do": {"cmd": "cat folder/a folder/b > ${item}; echo '{}' > ${item}.json", "deps": ["folder"],
                          "outs": ["${item}"], "metrics": [{"${item}.json": {"cache": False}}]}},
        "end": {"cmd": "cat x y more/of-x > end; : " + 30 * "long ", "deps": ["x", "y", "more/of-x"], "outs": ["end"]},
    },
    "more/dvc.yaml": {"of": {"foreach": ["x"], "do": {"cmd": "cp ../${item} of-${item}", "deps": ["../${item}"],
                                                    "outs": ["of-${item}"]}}},
}  # fmt: skip


def write_pipeline(folder: Path, pipeline: dict[str, dict], text: str = "ä") -> Path:
    """A repository of DVC's with these stages."""
    for path, stages in pipeline.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
        (folder / path).with_name("params.yaml").write_text(yaml.safe_dump({"text": text}))
    (folder / "source").write_text("source")
    if not (folder / ".dvc").exists():
        subprocess.run(["git", "init", "--quiet", folder], check=True)
        Repo.init(str(folder))
    return folder


def flat(**commands: str) -> dict[str, dict]:
    """A pipeline of stages that need nothing and write a file of their name."""
    return {"dvc.yaml": {name: {"cmd": command, "outs": [name]} for name, command in commands.items()}}


def contents(folder: Path) -> dict[str, bytes]:
    """All files but DVC's and Git's temporary ones."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
            and not str(path.relative_to(folder)).startswith((".git/", ".dvc/tmp/"))}  # fmt: skip


def reproduce(folder: Path, *options: str) -> str:
    ended = run("repro.py", *options, folder=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()[-1].removeprefix("stages: ")


def dvc(*words: str, folder: Path) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_files_of_the_pipeline_the_lock_and_the_caches_are_those_of_dvc_repro(tmp_path, monkeypatch):
    plain, ours = (write_pipeline(tmp_path / name, PIPELINE) for name in ("plain", "ours"))

    def both(new: bool = False) -> str:
        monkeypatch.chdir(plain)
        Repo().reproduce()
        line = reproduce(ours, "--jobs", "3")
        expected, found = contents(plain), contents(ours)
        if new:  # entries of a lock and of .gitignore are in the order in which the stages ended
            assert yaml.safe_load(found["dvc.lock"]) == yaml.safe_load(expected["dvc.lock"])
            assert sorted(found[".gitignore"].splitlines()) == sorted(expected[".gitignore"].splitlines())
            for name in ("dvc.lock", ".gitignore"):
                shutil.copy(plain / name, ours / name)
            found = contents(ours)
        assert found == expected
        return line

    assert both(new=True) == "5 run"
    assert "up to date" in dvc("repro", folder=ours) and "up to date" in dvc("status", folder=ours)
    assert both() == "5 up to date"
    for folder in (plain, ours):  # now in a lock with entries
        write_pipeline(folder, PIPELINE, text="another")
    assert both() == "5 run"
    for folder in (plain, ours):
        (folder / "x").unlink()
        write_pipeline(folder, PIPELINE)
    assert both() == "5 restored"


def test_an_entry_of_the_projects_lock_is_written_as_dvc_writes_the_whole(tmp_path):
    for path in ("dvc.yaml", "dvc.lock", "params.yaml", "data/robustness/dvc.yaml", "data/robustness/dvc.lock"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    Repo.init(str(tmp_path))
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc/config")
    repo, graph = read_graph(["dvc.yaml", "data/robustness/dvc.yaml"])
    locks = [tmp_path / "dvc.lock", tmp_path / "data/robustness/dvc.lock"]
    with repo.lock:
        for file in {stage.dvcfile for stage in graph}:
            file.dump_stages([stage for stage in graph if stage.dvcfile == file], update_pipeline=False)
    written = [lock.read_bytes() for lock in locks]

    some = sorted(graph, key=lambda stage: stage.addressing)[::8]
    commands = [stage.cmd for stage in some]
    for stage in some:
        stage.cmd = "another"
        record(stage)
    assert sum(lock.read_text().count("    cmd: another\n") for lock in locks) == len(some)
    for stage, stage.cmd in zip(some, commands, strict=True):
        record(stage)
    assert [lock.read_bytes() for lock in locks] == written


def test_a_download_that_nothing_needs_is_not_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    graph = read_graph(["dvc.yaml"])[1]
    names = {stage.addressing for stage in graph}
    assert {"frames", "report", "data/demo/dvc.yaml:synthesize"} <= names
    assert not any("download" in name for name in names)


def test_make_names_stages_that_exist_and_its_paper_has_all_its_classifiers(monkeypatch):
    monkeypatch.chdir(ROOT)
    named = re.findall(r"\$\(repro\) (.+?) &&", (ROOT / "Makefile").read_text())
    paper, modern, quick = (
        {stage.addressing for stage in read_graph(words.replace("'", "").split())[1]} for words in named
    )
    classifiers = {name for name in paper if re.match("predict-(audio|visual)-(spectrogram|embedding|image)@", name)}
    assert len(classifiers) == 22 and {"early-detect", "fuse-all_models"} <= paper
    members = {name for name in modern if re.match("(train|predict)-.*-(foundation|probe|zero-shot)@", name)}
    assert len(members) == 2 * 12 + 3 and {"fuse-modern_all", "fuse-modern_audio", "fuse-modern_visual"} <= modern
    assert {name for name in quick if name.startswith("train-")} == {
        "train-audio-spectrogram@mel", "train-visual-image@InceptionV3"
    }  # fmt: skip


MEETING = (
    "touch met-{0}; for i in $(seq 1200); do [ -e met-{1} ] && break; sleep 0.05; done; "
    "[ -e met-{1} ] && echo $CUDA_VISIBLE_DEVICES > {0}"
)


def test_stages_run_side_by_side_each_with_a_gpu_of_its_own(tmp_path):
    write_pipeline(tmp_path, flat(a=MEETING.format("a", "b"), b=MEETING.format("b", "a")))
    assert reproduce(tmp_path, "--gpus", "5,7") == "2 run"
    assert {(tmp_path / name).read_text() for name in "ab"} == {"5\n", "7\n"}


def test_the_longest_line_by_the_last_runs_seconds_is_first(tmp_path):
    write_pipeline(tmp_path, flat(**{name: f"echo {name} >> order; touch {name}" for name in "abcd"}))
    seconds = tmp_path / ".dvc/tmp/seconds.json"
    seconds.write_text(json.dumps({"a": 1, "b": 4, "c": 2, "d": 3}))
    assert reproduce(tmp_path, "--jobs", "1") == "4 run"
    assert (tmp_path / "order").read_text().split() == ["b", "d", "c", "a"]
    assert set(json.loads(seconds.read_text())) == set("abcd")
    assert not set(json.loads(seconds.read_text()).values()) & {4}  # measured


def test_a_stage_that_fails_stops_what_needs_it_and_nothing_else(tmp_path):
    pipeline = flat(
        bad="echo working; echo 'error: broken: mend it' >&2; exit 3", good="echo 'warning: odd' >&2; touch good",
        lazy="true",
    )  # fmt: skip
    pipeline["dvc.yaml"]["after"] = {"cmd": "touch after", "deps": ["bad"], "outs": ["after"]}
    pipeline["dvc.yaml"]["last"] = {"cmd": "touch last", "deps": ["after"], "outs": ["last"]}
    pipeline["dvc.yaml"]["other"] = {"cmd": "touch other", "deps": ["good"], "outs": ["other"]}
    write_pipeline(tmp_path, pipeline)
    ended = run("repro.py", "--jobs", "1", folder=tmp_path)
    assert ended.returncode == 1
    assert "bad: failed: exit code 3" in ended.stdout and "bad: error: broken: mend it" in ended.stdout
    assert "good: warning: odd" in ended.stdout and "bad: working" in ended.stdout
    assert "output 'lazy' does not exist" in ended.stdout
    assert re.search(r"error: failed: (bad, lazy|lazy, bad); not run, because they need it: ", ended.stderr)
    assert set(ended.stderr.strip().rpartition(": ")[2].split(", ")) == {"after", "last"}
    assert (tmp_path / "other").exists() and not (tmp_path / "after").exists()

    pipeline["dvc.yaml"]["bad"]["cmd"] = "touch bad"
    pipeline["dvc.yaml"]["lazy"]["cmd"] = "touch lazy"
    write_pipeline(tmp_path, pipeline)
    assert reproduce(tmp_path) == "2 up to date, 4 run"


def test_python_is_that_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    write_pipeline(tmp_path, flat(a="""python -c 'import sys; print(sys.prefix, sys.flags.safe_path)' > a"""))
    reproduce(tmp_path)
    assert (tmp_path / "a").read_text().split() == [sys.prefix, "False"]


def test_it_waits_for_another_dvc_command_and_can_be_interrupted_meanwhile(tmp_path):
    write_pipeline(tmp_path, flat(a="touch a"))
    with Repo(str(tmp_path)) as repo, repo.lock:
        scheduler = subprocess.Popen(REPRO, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert scheduler.stderr.readline() == "waiting for another DVC command to end\n"
        scheduler.send_signal(signal.SIGINT)
        assert "SIGINT" in scheduler.communicate(timeout=60)[1] and scheduler.returncode == 130
        scheduler = subprocess.Popen(REPRO, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        scheduler.stderr.readline()
    scheduler.communicate(timeout=60)
    assert scheduler.returncode == 0 and (tmp_path / "a").exists()


def test_what_two_stages_read_stays_reserved_until_both_have_ended(tmp_path):
    pipeline = flat(a="touch a", b="touch started; until [ -e go ]; do sleep 0.05; done; touch b")
    for stage in pipeline["dvc.yaml"].values():
        stage["deps"] = ["source"]
    pipeline["dvc.yaml"]["c"] = {"cmd": "touch c", "deps": ["a"], "outs": ["c"]}
    write_pipeline(tmp_path, pipeline)
    scheduler = subprocess.Popen([*REPRO, "--jobs", "2"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "c").exists() and (tmp_path / "started").exists())
        reserved = json.loads((tmp_path / ".dvc/tmp/rwlock").read_text())
        assert "source" in [Path(path).name for path in reserved["read"]]
    finally:
        (tmp_path / "go").touch()
        assert scheduler.wait(60) == 0


@pytest.mark.parametrize("damaged", ["", "[1]", '{"a": null}'])
def test_damaged_records_of_seconds_are_no_fault(tmp_path, damaged):
    write_pipeline(tmp_path, flat(a="touch a"))
    (tmp_path / ".dvc/tmp/seconds.json").write_text(damaged)
    assert reproduce(tmp_path) == "1 run"
    assert set(json.loads((tmp_path / ".dvc/tmp/seconds.json").read_text())) == {"a"}


def test_data_that_was_added_is_updated_as_by_dvc_repro(tmp_path):
    write_pipeline(tmp_path, flat(a="touch a"))
    pipeline = flat(a="cat source > a")
    pipeline["dvc.yaml"]["a"]["deps"] = ["source"]
    write_pipeline(tmp_path, pipeline)
    dvc("add", "source", folder=tmp_path)
    assert reproduce(tmp_path) == "1 up to date, 1 run"
    (tmp_path / "source").unlink()
    (tmp_path / "source").write_text("another")
    assert reproduce(tmp_path) == "1 updated, 1 run"
    assert (tmp_path / "a").read_text() == "another" and "up to date" in dvc("status", folder=tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_whatever_ends_it_ends_its_commands_and_a_rerun_completes(tmp_path, number, code):
    """Also a child of the command; and one that a kill leaves no time."""
    write_pipeline(tmp_path, flat(a="[ -e again ] || { sleep 1000 & echo $! > child; wait; }; touch a"))
    scheduler = subprocess.Popen(REPRO, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    child = tmp_path / "child"
    wait_for(lambda: child.exists() and child.read_text().strip())
    scheduler.send_signal(number)
    errors = scheduler.communicate()[1]
    assert scheduler.returncode == code
    assert number == signal.SIGKILL or (number.name in errors and errors.count("\n") == 1)
    wait_for(lambda: not lives(int(child.read_text())))
    assert not (tmp_path / "a").exists()
    (tmp_path / "again").touch()
    assert reproduce(tmp_path) == "1 run"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["b"], "error: b: no such stage"),
        (["b*"], r"error: b\*: no such stage"),
        (["--jobs", "0"], "error: --jobs 0: "),
        (["--dask", "tcp:/nowhere"], "error: --dask: no Dask scheduler answers at tcp:/nowhere"),
    ],
)
def test_what_is_wrong_in_the_call_is_said_in_one_line(tmp_path, words, message):
    ended = run("repro.py", *words, folder=write_pipeline(tmp_path, flat(a="touch a")))
    assert ended.returncode in (1, 2) and re.match(message, ended.stderr) and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "unable to read: 'dvc.yaml'"),
        ("stages: {a: {cmd: b, odd: c}}", "'./dvc.yaml' validation failed; dvc status shows where"),
        ("stages: {a: {cmd: 'b ${c}'}}", "failed to parse 'stages.a.cmd' in 'dvc.yaml'"),
        ("stages: {a: {cmd: b, deps: [c], outs: [c]}}", "Same item"),
    ],
)
def test_what_is_wrong_in_the_pipeline_is_said_in_one_line(tmp_path, text, message):
    (write_pipeline(tmp_path, flat(a="touch a")) / "dvc.yaml").write_text(text)
    ended = run("repro.py", folder=tmp_path)
    assert ended.returncode == 1 and message in ended.stderr and ended.stderr.count("\n") == 1


def test_a_folder_that_is_no_repository_is_said_in_one_line(tmp_path):
    ended = run("repro.py", folder=tmp_path)
    assert ended.returncode == 1 and "not inside of a DVC repository" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_cluster_runs_two_stages_at_once_and_survives_the_death_of_a_worker(tmp_path):
    """The command of the worker that is killed ends with it, and runs again on the other."""

    def start(*words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "dask", *words, "--scheduler-file", str(tmp_path / "scheduler.json")]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([*command, "--no-dashboard"], cwd=tmp_path, **silent)

    work = "echo $$ $PPID >> started-{0}; until [ -e go ]; do sleep 0.05; done; touch {0}"
    folder = write_pipeline(tmp_path / "project", flat(a=work.format("a"), b=work.format("b")))
    processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        wait_for((tmp_path / "scheduler.json").exists)
        processes += [start("worker", "--no-nanny", "--nworkers", "1", "--nthreads", "1") for _ in range(2)]
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        scheduler = subprocess.Popen([*REPRO, "--jobs", "2", "--dask", address], cwd=folder, stdout=subprocess.PIPE)
        processes.append(scheduler)
        started = [folder / "started-a", folder / "started-b"]
        wait_for(lambda: all(path.exists() and path.read_text().endswith("\n") for path in started))
        command, worker = map(int, started[0].read_text().split())
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: not lives(command))
        (folder / "go").touch()
        assert scheduler.communicate()[0].splitlines()[-1] == b"stages: 2 run" and scheduler.returncode == 0
        assert [len(path.read_text().splitlines()) for path in started] == [2, 1]
        assert "up to date" in dvc("status", folder=folder)
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
