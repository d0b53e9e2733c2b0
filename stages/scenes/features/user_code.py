"""The user's own Python code, named in params.yaml: imported and called; what it raises becomes one line.

Such code runs with the rights of the user who runs the stage. Whoever writes its name into params.yaml trusts it.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from scenes.stage.errors import InputError


def function(module: str, name: str, folder: Path) -> Callable:
    """Import a function of a module that is installed, or a file or package in `folder`.

    Raises
    ------
    InputError
        If there is no such module or function, or importing the module raises an exception.
    """
    if (place := str(folder.resolve())) not in sys.path:
        # Python itself looks in the script's folder, stages/, not here. Last, so that it hides no installed module.
        sys.path.append(place)
    with blaming(module):
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):  # a module that this one imports
                raise
            raise InputError(f"{module}: no module {error.name}; install it, or put it into {place}") from error
    if not callable(getattr(found, name, None)):
        file = getattr(found, "__file__", None) or "a folder without __init__.py"
        raise InputError(f"{module}: no function {name} in {file}; add it, or name another module")
    return getattr(found, name)


@contextmanager
def blaming(module: str) -> Iterator[None]:
    """Name the module, the exception and the last line of the module's package that it passed.

    Raises
    ------
    InputError
        For whatever is raised inside.
    """
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        own = [
            f" ({frame.f_code.co_filename}:{line})"
            for frame, line in traceback.walk_tb(error.__traceback__)
            if str(frame.f_globals.get("__name__")).partition(".")[0] == module.partition(".")[0]
        ]
        said = ": ".join(filter(None, (type(error).__name__, str(error).strip().partition("\n")[0])))
        raise InputError(f"{module}: {said}{''.join(own[-1:])}") from error


def weights_of(module: str, weights: str, folder: Path) -> list[Path]:
    """The file of weights, relative to `folder`, as the arguments that the user's function takes; of `none`, none.

    Raises
    ------
    InputError
        If there is no such file.
    """
    if weights == "none":
        return []
    if not (folder / weights).exists():
        raise InputError(f"{folder / weights}: no such file of weights of {module}; set weights to a file, or to none")
    return [folder / weights]


def files(module: str) -> list[Path]:
    """The files of a module's package that are imported: an edited one must not resume an interrupted stage."""
    package = module.partition(".")[0]
    of_package = [found for name, found in sys.modules.items() if name.partition(".")[0] == package]
    named = {Path(getattr(found, "__file__", None) or "") for found in of_package}
    return sorted(path for path in named if path.is_file())
