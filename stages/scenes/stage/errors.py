"""What goes wrong through no fault of the code, said for the person who can fix it."""

import re


class InputError(ValueError):
    """A fault in a file or a parameter. Its message is one line that names the file or parameter and the fix."""


class OutputError(InputError):
    """An output that cannot be written: a fault of the disk, of whatever input the work is on."""


class MediaWarning(UserWarning):
    """A clip that is usable but not as the data set promises (mono, another rate, too short)."""


def one_line(text: object) -> str:
    r"""Text on one line that can be encoded: `\n` for a line break, `\udcfc` for a byte that is not UTF-8."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]",
        lambda match: match[0].encode("unicode_escape").decode(),
        str(text),
    )
