"""The card inside a .tflite, which describes a file that was separated from its bundle."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.convert.flatbuffer import packed, parse

NAME = "relple_tf_card"
"""Name of the metadata entry; its buffer is UTF-8 JSON."""


def embed(content: bytes, card: Mapping[str, Any]) -> bytes:
    """Add the card to a .tflite; graph and weights do not change.

    Args:
        content: A .tflite without a card.
        card: Values that JSON can store.
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
    """Read the card inside a .tflite; None if it has no card."""
    model = parse(content)
    for entry in model.metadata or ():
        if entry.name == NAME.encode():
            card: dict[str, Any] = json.loads(np.asarray(model.buffers[entry.buffer].data, "uint8").tobytes())
            return card
    return None
