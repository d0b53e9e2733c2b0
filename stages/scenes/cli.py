"""The entry of every stage script: typed options in; one clear line out when the user can cure what went wrong."""

import sys
from collections.abc import Callable

import typer

from scenes.errors import InputError


def run(*commands: Callable) -> None:
    """Run a script's command, or one of its several commands, with the arguments of the command line.

    Options may be written with underscores, as DVC unpacks them from params.yaml, or with dashes. An `InputError` or
    an `OSError` (missing file, full disk) ends the script with one line on standard error and exit code 1.
    """
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": lambda token: token.replace("_", "-")},
    )
    for command in commands:
        app.command()(command)
    try:
        app()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or 'input/output'}: {error.strerror or error}")
