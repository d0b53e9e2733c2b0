"""The entry of every stage script: typed options in; one clear line out when the user can fix what went wrong."""

import dataclasses
import inspect
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps

import typer
from typer.core import TyperCommand

from scenes.stage.errors import InputError, one_line

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


class StoppedError(BaseException):
    """The user, or the machine's scheduler, wants the script to end; the argument is the signal's number."""


def run(*commands: Callable, **named: Callable) -> None:
    """Run a script's command, or one of its several commands, with the arguments of the command line.

    A parameter whose type is a dataclass stands for the dataclass's fields, an option each.

    Options may be written with underscores, as DVC unpacks them from params.yaml, or with dashes, and a flag with its
    value, `--flag=true`. An `InputError` or an `OSError` (missing file, full disk) ends the script with one line on
    standard error and exit code 1, a wrong option likewise with 2, SIGINT (Ctrl-C) and SIGTERM with 130 and 143, as
    shells have it. A character that the encoding of standard output lacks is printed as its escape, as Python does on
    standard error.
    """
    sys.stdout.reconfigure(errors="backslashreplace")
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
    )
    for name, command in (*((None, command) for command in commands), *named.items()):
        app.command(name and name.replace("_", "-"), cls=_Command)(_with_options(command))
    for number in SIGNALS:
        signal.signal(number, _stop)
    sys.unraisablehook = _silent_if_stopped
    try:
        app(standalone_mode=False)
    except (Exception, StoppedError) as error:
        if _received:  # whatever other libraries made of it on its way
            number = signal.Signals(_received[0])
            _end(128 + number, f"interrupted ({number.name}); rerun to resume")
        match error:
            case InputError():
                _end(1, f"error: {error}")
            case typer.TyperException():
                _end(2, f"error: {_explained(error)}")
            case OSError():
                _end(1, f"error: {error.filename or 'input/output'}: {error.strerror or error}")
        raise


def _with_options(command: Callable) -> Callable:
    """Replace each parameter that is a dataclass by the dataclass's fields, an option each."""
    parameters = inspect.signature(command, eval_str=True).parameters
    groups = {name: p.annotation for name, p in parameters.items() if dataclasses.is_dataclass(p.annotation)}

    @wraps(command)
    def call(**values: object) -> None:
        made = {name: group(**{field: values.pop(field) for field in inspect.signature(group).parameters})
                for name, group in groups.items()}  # fmt: skip
        command(**values, **made)

    flat = [field for name, parameter in parameters.items() for field in (
        inspect.signature(groups[name], eval_str=True).parameters.values() if name in groups else [parameter]
    )]  # fmt: skip
    call.__signature__ = inspect.Signature([field.replace(kind=inspect.Parameter.KEYWORD_ONLY) for field in flat])
    call.__annotations__ = {field.name: field.annotation for field in flat}
    del call.__wrapped__
    return call


class _Command(TyperCommand):
    """A command that refuses what DVC makes of wrong values in params.yaml.

    A list where a single value belongs becomes an option given twice, an empty text an empty word. An empty list
    vanishes: in a stage, whose every number is in params.yaml, the default must not stand in for it.
    """

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:
        args = flags(
            args, [name for option in self.params if getattr(option, "is_flag", False) for name in option.opts]
        )
        if "" in args:
            raise typer.BadParameter(f"{args[args.index('') - 1]}: must not be empty; give it a value in params.yaml")
        given = Counter(self.make_parser(ctx).parse_args(list(args))[2])
        for option in (parameter for parameter in self.params if parameter.param_type_name == "option"):
            if given[option] > 1 and not option.multiple and option.nargs == 1:
                raise typer.BadParameter(f"{option.opts[0]}: given {given[option]} times, must be a single value")
            if "DVC_STAGE" in os.environ and option.multiple and option.default and not given[option]:
                raise typer.BadParameter(f"{option.opts[0]}: must not be empty; give it a value in params.yaml")
        return super().parse_args(ctx, args)


def flags(words: list[str], names: Iterable[str]) -> list[str]:
    """Flags without values: of these names, `--flag` for `--flag=true` and `--no-flag` for `--flag=false`."""
    plain = {f"{name}=true": name for name in names} | {f"{name}=false": f"--no-{name[2:]}" for name in names}
    return [plain.get(word, word) for word in words]


def _stop(number: int, frame: object) -> None:
    _received.append(number)
    stop_if_asked()


def _silent_if_stopped(unraisable: "sys.UnraisableHookArgs") -> None:
    """A signal may come where Python can only print what is raised, as while it frees an object: it is not lost."""
    if unraisable.exc_type is not StoppedError:
        sys.__unraisablehook__(unraisable)


def stop_if_asked() -> None:
    """Raise again what compiled code may have swallowed: to be called after each step of long work.

    Raises
    ------
    StoppedError
        If a signal to end has come.
    """
    if _received:
        raise StoppedError(_received[0])


def leave_signals() -> None:
    """Leave Ctrl-C and its like, which all processes of a job get at once, to the main process: in a worker."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(code: int, line: str) -> None:
    print(one_line(line), file=sys.stderr)
    sys.exit(code)


def _explained(error: typer.TyperException) -> str:
    """A wrong option in one line: which, its value, and what is allowed."""
    words = sys.argv[1:]
    if error.__cause__ is not None:  # of a value: pydantic's, which does not name the option
        option, first = error.param, error.__cause__.errors()[0]
        limits = option.type_descriptor.parameter_info
        whole = "a whole number " if option.type_descriptor.annotation in (int, list[int]) else ""
        reason = f"must be {whole}from {limits.min} to {limits.max}" if limits.max is not None else first["msg"]
        return f"{option.opts[0]} {first['input']}: {reason.removeprefix('Value error, ')}"
    for option, value in zip(words, words[1:], strict=False):
        if f"extra argument(s) ({value})" in str(error) and option.startswith("--"):
            return f"{option} {value}: must be true or false in params.yaml, {option} or --no-{option[2:]} here"
    if "does not take a value" in str(error):
        return f"{str(error).split(chr(39))[1]}: must be true or false in params.yaml"
    return str(error)
