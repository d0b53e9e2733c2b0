"""DVC's part of a stage, before and after its command, in the order of `dvc repro` (`dvc.stage.Stage.reproduce`)."""

import gc
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import networkx as nx
from dvc.env import DVC_ROOT, DVC_STAGE
from dvc.exceptions import DvcException, PrettyDvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.repo.reproduce import get_active_graph, get_subgraph
from dvc.rwlock import rwlock
from dvc.stage import Stage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml
from tqdm import tqdm

from scenes.stage.errors import InputError, one_line


def read_graph(names: list[str]) -> tuple[Repo, nx.DiGraph]:
    """The stages of these names and all that they need; an edge leads from a stage to one that it needs.

    Parameters
    ----------
    names : list of str
        Of stages, of groups, of files, or patterns such as `fuse-*`.

    Raises
    ------
    InputError
        If there is no such stage, or DVC cannot read the pipeline.
    """
    logging.getLogger("dvc").setLevel(logging.WARNING)
    for bars in ("dvc.progress", "dvc_data.callbacks"):  # none beside ours
        logging.getLogger(bars).setLevel(logging.CRITICAL)
    gc.disable()  # a graph has many objects, which all stay: looking for garbage takes a tenth of the time
    try:
        repo = Repo()
        os.chdir(repo.root_dir)
        with locked(repo, stopped=[]):
            graph = get_active_graph(repo.index.graph)
    except DvcException as error:
        hint = "; dvc status shows where" if isinstance(error, PrettyDvcException) else ""
        raise InputError(f"{' '.join(str(error).split())}{hint}") from error
    gc.freeze()
    gc.enable()
    chosen = {name: [stage for stage in graph if _is_called(stage, name)] for name in names}
    for name, found in chosen.items():
        if not found:
            raise InputError(f"{name}: no such stage; dvc stage list --all names them")
    return repo, get_subgraph(graph, [stage for found in chosen.values() for stage in found])


def _is_called(stage: Stage, name: str) -> bool:
    address = stage.addressing
    return name in (address, address.partition("@")[0], stage.relpath) or fnmatchcase(address, name)


def begin(stage: Stage, reserved: ExitStack) -> tuple[str, ...]:
    """The stage's outcome without running its command, and lines about it; "run" if that must run."""
    try:
        if not changed(stage):
            return ("up to date",)
        reserved.enter_context(reserve(stage))
        word = restore(stage)
        return ("run",) if word == "run" else (word, word)
    except Exception as error:  # of one stage: the others go on
        return "failed", one_line(f"failed: {error}")


def finish(stage: Stage, future: Future) -> str:
    """Record what the command has made; the error, if there was one, in a line."""
    try:
        if code := future.result():
            killed = " (killed, as the system does when memory is full)" if code == -signal.SIGKILL else ""
            return f"failed: exit code {code}{killed}"
        commit(stage)
    except CancelledError as error:
        raise InputError("--dask: the scheduler has gone; rerun to resume") from error
    except Exception as error:
        return one_line(f"failed: {error}")
    return ""


@contextmanager
def locked(repo: Repo, stopped: list[int]) -> Iterator[bool]:
    """Acquire DVC's lock, waiting while another DVC command holds it; yields False if a signal arrives first."""
    told = False
    with ExitStack() as stack:
        while not stopped:
            try:
                stack.enter_context(lock_repo(repo))  # tries for three seconds
            except LockError:
                if not told:
                    tqdm.write("waiting for another DVC command to end", sys.stderr)
                told = True
            else:
                stack.enter_context(repo.scm_context(quiet=True))
                break
        yield not stopped


def reserve(stage: Stage) -> AbstractContextManager[None]:
    """Lock what the stage reads and writes against other DVC processes, by the lock that DVC's own calls use."""
    repo = stage.repo
    files = [[item.fs_path for item in items] for items in (stage.deps, stage.outs)]
    return rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), *files, repo.config["core"].get("hardlink_lock", False))


def changed(stage: Stage) -> bool:
    """As `Stage.changed`, but without its three locks, which take longer than the comparison."""
    if stage.changed_stage() or stage.always_changed or stage.is_callback:
        return True
    return any(item.status() for item in (*(() if stage.frozen else stage.deps), *stage.outs))


def restore(stage: Stage) -> str:
    """Bring the outputs back from the run cache, "restored", or remove all but persistent ones for a "run".

    An import, a frozen stage, or data that was added is "updated".
    """
    if stage.frozen or not stage.cmd:
        stage.reproduce()
        stage.dump(update_pipeline=False)
        return "updated"
    stage.remove_outs(ignore_remove=False)
    try:
        stage.repo.stage_cache.restore(stage)
    except RunCacheNotFoundError:
        stage.save_deps()
        return "run"
    commit(stage)
    return "restored"


def commit(stage: Stage) -> None:
    """Put the outputs into the cache, and what made them into the run cache and dvc.lock."""
    uncached = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
    stage.save(run_cache=not uncached)
    stage.commit()
    record(stage)


def record(stage: Stage) -> None:
    """Write the stage's own entry of dvc.lock: DVC would parse and write all others too, a second in 7,000 lines."""
    path = Path(stage.dvcfile.path).with_suffix(".lock")
    entry = dumps_yaml({"stages": to_lockfile(stage)}).removeprefix("stages:\n")
    name = entry.partition("\n")[0]
    lines = path.read_text(encoding="utf-8") if path.exists() else ""
    whole, count = re.subn(rf"^{re.escape(name)}\n(?:(?: {{4}}.*)?\n)*", lambda _: entry, lines, flags=re.MULTILINE)
    if count != 1:  # a new stage
        stage.dump(update_pipeline=False)
    elif whole != lines:
        partial = Path(stage.repo.tmp_dir, "dvc.lock")
        partial.write_text(whole, encoding="utf-8")
        partial.replace(path)
        stage.repo.scm_context.track_file(os.path.relpath(path))


def log_of(stage: Stage) -> Path:
    return Path(stage.repo.tmp_dir, "logs", f"{stage.addressing.replace('/', '-')}.log")


def job_of(stage: Stage, variables: dict[str, str]) -> tuple[list[str], str, dict[str, str], Path]:
    """The arguments of `execute`: the stage's commands, their folder, DVC's and these variables, their log."""
    log_of(stage).parent.mkdir(exist_ok=True)
    lines = stage.cmd if isinstance(stage.cmd, list) else stage.cmd.splitlines()
    return lines, stage.wdir, {DVC_ROOT: stage.repo.root_dir, DVC_STAGE: stage.addressing, **variables}, log_of(stage)


def notes(stage: Stage) -> list[str]:
    """What the stage's command printed for the user to see."""
    return [line for line in _printed(stage) if line.startswith(("warning:", "not run:"))]


def last_lines(stage: Stage) -> list[str]:
    return _printed(stage)[-20:]


def _printed(stage: Stage) -> list[str]:
    """The lines of the stage's log; a bar's are one each."""
    log = log_of(stage)
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
