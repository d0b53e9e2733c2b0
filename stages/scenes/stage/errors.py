"""What goes wrong through no fault of the code, said for the person who can cure it."""


class InputError(ValueError):
    """A fault in a file or a parameter. Its message is one line that names the file or parameter and the cure."""


class MediaWarning(UserWarning):
    """A clip that is usable but not as the data set promises (mono, another rate, too short)."""
