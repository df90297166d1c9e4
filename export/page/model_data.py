"""The list of operators as data for the page, and back.

The data are JSON: `shapes` of the tensors, `constants` [tensor, position of its first value in the weights], `weights`
(float32, little-endian, base64), `operators` [name, inputs, output, attributes], `input` and `outputs` as indices of
tensors. Tensors that no operator reads or writes are left out.
"""

import base64
from typing import Any

import numpy as np

from export.graph.operator_list import Operator, OperatorList, Tensor

Data = dict[str, Any]


def as_data(model: OperatorList) -> Data:
    """Write a model with one input as values that JSON can store."""
    (input_,) = model.inputs.values()
    used = {input_, *model.outputs.values()}
    for operator in model.operators:
        used |= {*operator.inputs, operator.output}
    index_of = {old: new for new, old in enumerate(sorted(used))}
    constants, parts, first = [], [], 0
    for old, new in index_of.items():
        if (values := model.tensors[old].values) is not None:
            constants.append([new, first])
            parts.append(np.ascontiguousarray(values, "<f4").ravel())
            first += values.size
    return {
        "shapes": [list(model.tensors[old].shape) for old in index_of],
        "constants": constants,
        "operators": [
            [
                operator.name,
                [index_of[old] for old in operator.inputs],
                index_of[operator.output],
                {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in operator.attributes.items()
                },
            ]
            for operator in model.operators
        ],
        "input": index_of[input_],
        "outputs": {name: index_of[old] for name, old in model.outputs.items()},
        "weights": base64.b64encode(b"".join(part.tobytes() for part in parts)).decode(),
    }


def from_data(data: Data) -> OperatorList:
    """Read the model that `as_data` wrote; the flags of tensors that are true or false become numbers."""
    weights = np.frombuffer(base64.b64decode(data["weights"]), "<f4")
    tensors = [Tensor(tuple(shape)) for shape in data["shapes"]]
    for index, first in data["constants"]:
        shape = tensors[index].shape
        tensors[index] = Tensor(shape, values=weights[first : first + tensors[index].size].reshape(shape))
    operators = [
        Operator(
            name,
            tuple(inputs),
            output,
            {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()},
        )
        for name, inputs, output, attributes in data["operators"]
    ]
    return OperatorList(tuple(tensors), tuple(operators), {"scan": data["input"]}, data["outputs"])
