"""Save a Keras model so that equal models give equal bytes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import keras

SHARED_ID = "shared_object_id"
"""Key under which Keras writes the memory address of an object that several layers share, such as a dtype policy.

Without it, each layer gets a separate copy when the model is loaded; for such objects this has no effect.
"""
NO_DATE = "1980-01-01@00:00:00"


def save_model(model: keras.Model, path: Path) -> None:
    """Save `model` to `path`, without the date and the memory addresses that Keras writes."""
    saved = io.BytesIO()
    model.save(path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(saved, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "metadata.json":
                content = json.dumps(json.loads(content) | {"date_saved": NO_DATE}).encode()
            if entry.filename == "config.json":
                content = json.dumps(_without_addresses(json.loads(content))).encode()
            # A new entry has the date 1980-01-01.
            target.writestr(zipfile.ZipInfo(entry.filename), content, entry.compress_type)
    path.write_bytes(saved.getvalue())


def _without_addresses(content: Any) -> Any:
    """Remove the key SHARED_ID from JSON content, at any depth."""
    if isinstance(content, list):
        return [_without_addresses(item) for item in content]
    if isinstance(content, dict):
        return {key: _without_addresses(value) for key, value in content.items() if key != SHARED_ID}
    return content
