"""RS-PLE for soil spectra: a raw near-infrared scan in, laboratory values out, in one Keras graph.

The public names are those of `__all__`; every other module is internal and may change.
"""

from typing import Any

__version__ = "0.2.0"

__all__ = ["SoilRegressor", "SpectralLibrary", "load", "models", "presets"]

_MODULES = {
    "SoilRegressor": "relple_tf.estimator",
    "SpectralLibrary": "relple_tf.spectra.library",
    "load": "relple_tf.prediction.saved",
    "presets": "relple_tf.zoo",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import relple_tf` and `--help` import no Keras."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'relple_tf' has no attribute {name!r}")
    if name in ("SoilRegressor", "load", "models"):
        from relple_tf.processes import import_tensorflow

        import_tensorflow()
    if name == "models":
        return importlib.import_module("relple_tf.models")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
