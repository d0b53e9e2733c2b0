"""A process that has imported torch and Keras and forks for scripts: they start in tenths of a second, not in three."""

import gc
import json
import os
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

# What all scripts import.
COMMON = ("scenes.dataset.tables", "scenes.stage.cli")
# What else those do whose command sets a variable, the first of these; how the latter loads torch depends on it.
OF_VARIABLES = {"KERAS_BACKEND": "scenes.learning.backend", "OMP_NUM_THREADS": "scenes.features.panns"}


def serve() -> None:
    """Run the scripts that are asked for on standard output, a socket, one after another, each in a fork.

    A request is a JSON object of the script with its `arguments`, its `folder` and further `variables`, and comes with
    a file for both outputs. The answers are that the script has started, and its exit code. Before them comes that the
    libraries are there; it does not where they found a GPU, whose driver does not survive a fork, or where Keras runs
    on something else than torch.
    """
    requests = socket.socket(fileno=os.dup(1))
    os.dup2(2, 1)
    # They are for the script, in the same process group, which may have been started with Ctrl-C ignored.
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    if os.environ.get("KERAS_BACKEND", "torch") != "torch":
        return
    for name in (*COMMON, *[name for variable, name in OF_VARIABLES.items() if variable in os.environ][:1]):
        import_module(name)
    if "torch" in sys.modules and sys.modules["torch"].accelerator.is_available():
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == "scenes"]:
        del sys.modules[name]  # a script imports the project's code as it then is
    gc.freeze()  # what is there already stays: a fork that looks at it for garbage copies its memory, half a second
    requests.send(b"ready")
    while request := (received := socket.recv_fds(requests, 1 << 16, 1))[0]:
        (output,) = received[1]
        if not (child := os.fork()):
            for number, handler in handlers.items():
                signal.signal(number, handler)
            return _run(requests, output, **json.loads(request))
        os.close(output)
        requests.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _run(requests: socket.socket, output: int, arguments: list[str], folder: str, variables: dict[str, str]) -> None:
    """What `python SCRIPT ...` does."""
    requests.send(b"started")
    requests.close()
    sys.modules["numpy"].random.seed()  # each fork would draw the same numbers
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(folder)
    os.environ.update(variables)
    sys.argv = arguments
    script = Path.cwd() / arguments[0]
    sys.path[0] = str(script.resolve().parent)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = str(script)
    try:
        exec(compile(script.read_bytes(), script, "exec"), main.__dict__)
    except Exception as error:
        sys.excepthook(type(error), error.with_traceback(error.__traceback__.tb_next), None)  # without this function
        sys.exit(1)
