"""The exception whose message is written for the user."""


class InputError(ValueError):
    """The input or the command is wrong.

    The message is one line: what was expected, what was received, how to correct it. Commands print it on stderr and
    exit with code 2.
    """
