"""The operators of a model as C code: a function for each part, which reads the scan and writes the work buffer."""

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from export.c.expressions import FORMS, index, nested
from export.c.memory import Lifetime, placed
from export.c.source import literal
from export.c.statements import STATEMENTS, scratch_floats
from export.c.tables import Tables, has_few_factors, rounded_constants
from export.graph.operator_list import ELEMENTWISE, Operator, OperatorList
from export.graph.parts import PARTS, by_part, parts_of


@dataclass(frozen=True, kw_only=True)
class Network:
    """The generated code of a model."""

    tables: str
    """Definitions of the constants."""
    table_bytes: int
    functions: str
    """Definitions of a function for each part that has operators."""
    parts: dict[str, str]
    """Part -> the statement that calls its function, in order."""
    work_floats: int
    """Size of the work buffer."""
    outputs: dict[str, str]
    """Output -> C expression of its value after the calls."""


class Generator:
    """Writes the code of a model.

    An elementwise operator whose result is read once, by an elementwise operator at the same position, is written as
    a part of the expression of that operator. Its values are never stored.

    Args:
        model: The model; it has one input.
        int16: Whether matrices are stored in 16 bits.
    """

    def __init__(self, model: OperatorList, *, int16: bool) -> None:
        self.model = by_part(model)
        self.tables = Tables(int16)
        self.rounded = rounded_constants(model) if int16 else set()
        self.producer = {operator.output: operator for operator in self.model.operators}
        reads = Counter(index for operator in self.model.operators for index in operator.inputs)
        reads.update(self.model.outputs.values())
        self.inlined = {
            tensor
            for operator in self.model.operators
            if operator.name in ELEMENTWISE
            for tensor in operator.inputs
            if reads[tensor] == 1 and self._can_inline(tensor, operator)
        }
        self.steps = [
            (operator, part)
            for operator, part in zip(self.model.operators, parts_of(self.model), strict=True)
            if operator.output not in self.inlined and operator.output not in self.model.aliases
        ]
        self.memory_of = self._shared_memory()
        self.scratch_of: dict[int, Hashable] = {}
        self.positions, self.work_floats = placed(self._lifetimes())

    def network(self) -> Network:
        """Write the code."""
        lines: dict[str, list[str]] = {part: [] for part in PARTS}
        for operator, part in self.steps:
            lines[part] += self._statement(operator)
        functions, calls = [], {}
        for part, statements in lines.items():
            if statements:
                functions.append(_function(part, statements))
                calls[part] = f"{part}({'scan, ' if _reads_scan(statements) else ''}work);"
        return Network(
            tables="\n".join(self.tables.definitions),
            table_bytes=self.tables.size,
            functions="\n\n".join(functions),
            parts=calls,
            work_floats=self.work_floats,
            outputs={name: self.element(tensor) for name, tensor in self.model.outputs.items()},
        )

    def _can_inline(self, tensor: int, reader: Operator) -> bool:
        operator, size = self.producer.get(tensor), self.model.tensors[tensor].size
        return operator is not None and operator.name in ELEMENTWISE and size == self.model.tensors[reader.output].size

    def operands(self, operator: Operator) -> Iterator[tuple[int, bool]]:
        """Stored tensors that an operator reads, and whether only at the position that it writes."""
        full = self.model.tensors[operator.output]
        for tensor in operator.inputs:
            if tensor in self.inlined:
                yield from self.operands(self.producer[tensor])
            elif self.model.tensors[tensor].values is None:
                yield tensor, operator.name in ELEMENTWISE and self.model.tensors[tensor].size == full.size

    def root(self, tensor: int) -> tuple[int, int]:
        """The tensor whose memory holds this one, and the position of its first value there."""
        return self.model.aliases.get(tensor, (tensor, 0))

    def _last_reads(self) -> dict[int, int]:
        """Root -> position of the last step that reads it; the number of steps for an output."""
        last: dict[int, int] = {}
        for position, (operator, _) in enumerate(self.steps):
            for tensor, _ in self.operands(operator):
                last[self.root(tensor)[0]] = position
        return last | {self.root(tensor)[0]: len(self.steps) for tensor in self.model.outputs.values()}

    def _shared_memory(self) -> dict[int, int]:
        """Stored tensor -> tensor that it overwrites, or itself.

        An elementwise operator overwrites an operand that no later step reads.
        """
        last, memory_of = self._last_reads(), {}
        for position, (operator, _) in enumerate(self.steps):
            memory_of[operator.output] = operator.output
            for tensor, same_position in self.operands(operator):
                root, _ = self.root(tensor)
                whole = self.model.tensors[root].size == self.model.tensors[operator.output].size
                everywhere = all(same for other, same in self.operands(operator) if self.root(other)[0] == root)
                if same_position and everywhere and whole and last[root] == position and root in memory_of:
                    memory_of[operator.output] = memory_of[root]
                    break
        return memory_of

    def _lifetimes(self) -> dict[Hashable, Lifetime]:
        last = self._last_reads()
        lifetimes: dict[Hashable, Lifetime] = {}
        for position, (operator, _) in enumerate(self.steps):
            tensor = operator.output
            until = last.get(tensor, position)
            block = self.memory_of[tensor]
            if block in lifetimes:
                lifetimes[block].last = until
            else:
                lifetimes[block] = Lifetime(self.model.tensors[tensor].size, position, until)
            if floats := scratch_floats(operator, self.model):
                self.scratch_of[tensor] = ("scratch", position)
                lifetimes["scratch", position] = Lifetime(floats, position, position)
        return lifetimes

    def scratch(self, operator: Operator) -> str:
        """C expression of the scratch memory of an operator."""
        return f"work + {self.positions[self.scratch_of[operator.output]]}"

    def pointer(self, tensor: int) -> str:
        """C expression of the address of a tensor."""
        values = self.model.tensors[tensor].values
        if values is not None:
            return self.tables.floats(values)
        memory, position = self._memory(tensor)
        return f"{memory} + {position}" if position else memory

    def element(self, tensor: int, position: str = "0") -> str:
        """C expression of a value of a tensor."""
        values = self.model.tensors[tensor].values
        if values is not None:
            if values.size == 1:
                return "NAN" if np.isnan(values.item()) else literal(values.item())
            if tensor in self.rounded:
                name, scale = self.tables.vector(values)
                return f"((float){name}[{position}] * {literal(scale)})"
            return f"{self.tables.floats(values)}[{position}]"
        memory, start = self._memory(tensor)
        total = str(start + int(position)) if position.isdigit() else (f"{start} + {position}" if start else position)
        return f"{memory}[{total}]"

    def _memory(self, tensor: int) -> tuple[str, int]:
        root, offset = self.root(tensor)
        if root in self.model.inputs.values():
            return "scan", offset
        return "work", self.positions[self.memory_of[root]] + offset

    def _statement(self, operator: Operator) -> list[str]:
        if operator.name not in ELEMENTWISE:
            return STATEMENTS[operator.name](self, operator)
        if (factors := self._few_factors(operator)) is not None:
            return [f"{self.element(operator.output, str(at))} *= {literal(factor)};" for at, factor in factors]
        output = self.model.tensors[operator.output]
        expression = self.expression(operator)
        if output.is_bool:
            expression = f"({expression}) ? 1.0f : 0.0f"
        if output.size == 1:
            return [f"{self.element(operator.output)} = {expression};"]
        return [
            f"for (i = 0; i < {output.size}; ++i) {{",
            f"    {self.element(operator.output, 'i')} = {expression};",
            "}",
        ]

    def _few_factors(self, operator: Operator) -> list[tuple[int, float]] | None:
        """Position and factor of each value that a multiplication in place changes, if these are few; else None."""
        x, factors = operator.inputs[0], self.model.tensors[operator.inputs[-1]].values
        in_place = x not in self.inlined and self._memory(x) == self._memory(operator.output)
        if operator.name != "MUL" or factors is None or not in_place or factors.size != self.model.tensors[x].size:
            return None
        changed = np.flatnonzero(factors != 1)
        return [(int(at), float(factors.ravel()[at])) for at in changed] if has_few_factors(factors) else None

    def expression(self, operator: Operator) -> str:
        """C expression of an elementwise operator at position `i`."""
        return FORMS[operator.name].format(*(self._operand(tensor, operator) for tensor in operator.inputs))

    def _operand(self, tensor: int, operator: Operator) -> str:
        if tensor in self.inlined:
            inner = self.producer[tensor]
            return nested(inner.name, self.expression(inner))
        shape, full = self.model.tensors[tensor].shape, self.model.tensors[operator.output].shape
        position = "0" if prod(full) == 1 else index(shape, full)
        value = self.element(tensor, position)
        if value.startswith("-"):
            value = f"({value})"
        return f"({value} != 0.0f)" if self.model.tensors[tensor].is_bool else value


def _function(part: str, statements: list[str]) -> str:
    parameters = "const float *scan, float *work" if _reads_scan(statements) else "float *work"
    counter = ["    int i;"] if any(line.startswith("for (i") for line in statements) else []
    body = [f"    {line}" for line in statements]
    return "\n".join([f"PART void {part}({parameters})", "{", *counter, *body, "}"])


def _reads_scan(statements: list[str]) -> bool:
    return any("scan" in line for line in statements)
