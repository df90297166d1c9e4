"""Elementwise operators as C expressions, with the index of each operand under broadcasting."""

from math import prod

FORMS = {
    "ABS": "fabsf({})",
    "EXP": "expf({})",
    "LOG": "logf({})",
    "LOGISTIC": "sigmoid({})",
    "NEG": "-({})",
    "RELU": "relu({})",
    "RSQRT": "1.0f / sqrtf({})",
    "SQRT": "sqrtf({})",
    "SQUARE": "squared({})",
    "TANH": "hyperbolic_tangent({})",
    "ADD": "{} + {}",
    "DIV": "{} / {}",
    "MAXIMUM": "larger({}, {})",
    "MINIMUM": "smaller({}, {})",
    "MUL": "{} * {}",
    "SQUARED_DIFFERENCE": "squared({} - {})",
    "SUB": "{} - {}",
    "GREATER": "{} > {}",
    "GREATER_EQUAL": "{} >= {}",
    "LESS": "{} < {}",
    "LESS_EQUAL": "{} <= {}",
    "LOGICAL_AND": "{} && {}",
    "SELECT_V2": "{} ? {} : {}",
}
"""Operator -> C expression of its operands."""

CALLS = ("LOGISTIC", "RELU", "SQUARE", "SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM", "ABS", "EXP", "LOG", "SQRT", "TANH")
"""Operators whose expression is a call, which needs no parentheses inside another expression."""


def nested(name: str, expression: str) -> str:
    """An expression as an operand of another one."""
    return expression if name in CALLS else f"({expression})"


def index(shape: tuple[int, ...], full: tuple[int, ...]) -> str:
    """C expression of the position in a tensor for position `i` in a tensor of shape `full` that it is broadcast to.

    Args:
        shape: Shape of the tensor; each axis is 1 or that of `full`, missing leading axes are 1.
        full: Shape of the result.
    """
    shape = (1,) * (len(full) - len(shape)) + shape
    terms = []
    for begin, end in _kept_groups(shape, full):
        after, own_after, size = prod(full[end:]), prod(shape[end:]), prod(full[begin:end])
        position = "i" if after == 1 else f"i / {after}"
        if prod(full[:begin]) > 1:
            position = f"{position} % {size}"
        if own_after > 1:
            position = f"({position}) * {own_after}" if " " in position else f"{position} * {own_after}"
        terms.append(position)
    return " + ".join(terms) or "0"


def _kept_groups(shape: tuple[int, ...], full: tuple[int, ...]) -> list[tuple[int, int]]:
    """Runs (begin, end) of adjacent axes that are not broadcast; axes of size 1 in both join any run."""
    groups: list[tuple[int, int]] = []
    for axis, (size, full_size) in enumerate(zip(shape, full, strict=True)):
        if size != full_size or full_size == 1:
            continue
        if groups and all(full[at] == 1 for at in range(groups[-1][1], axis)):
            groups[-1] = (groups[-1][0], axis + 1)
        else:
            groups.append((axis, axis + 1))
    return groups
