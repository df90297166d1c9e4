"""The card inside a .tflite: a file that was separated from its bundle still says what it is."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.convert.flatbuffer import packed, parse

NAME = "relple_tf_card"
"""Name of the metadata entry; its buffer is UTF-8 JSON."""


def embed(content: bytes, card: Mapping[str, Any]) -> bytes:
    """The file with the card in it; its graph and weights are what they were.

    Args:
        content: Of a .tflite without a card.
        card: What JSON knows.
    """
    model = parse(content)
    text = json.dumps(card, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(text.encode(), "uint8")
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*(model.metadata or ()), entry]
    return packed(model)


def read(content: bytes) -> dict[str, Any] | None:
    """The card inside a .tflite; None where there is none."""
    model = parse(content)
    for entry in model.metadata or ():
        if entry.name == NAME.encode():
            found: dict[str, Any] = json.loads(np.asarray(model.buffers[entry.buffer].data, "uint8").tobytes())
            return found
    return None
