"""The one exception that a user, not a developer, is meant to read."""


class InputError(ValueError):
    """The input or the command is wrong; the message is one line that names the value, the place and the way out.

    Commands print it on stderr and exit with code 2.
    """
