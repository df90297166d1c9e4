"""The public names of the package, and that importing it is quick."""

import subprocess
import sys

import pytest

import relple_tf


def test_all_names_exist_and_are_described():
    assert sorted(relple_tf.__all__) == ["SoilRegressor", "SpectralLibrary", "load", "models", "presets"]
    for name in relple_tf.__all__:
        assert getattr(relple_tf, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such"):
        _ = relple_tf.no_such


def test_importing_the_package_imports_nothing_slow():
    code = "import sys, relple_tf; print([m for m in ('keras','tensorflow','numpy','sklearn') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_presets_have_a_description():
    assert "rs_ple_base" in relple_tf.presets()
    assert all(len(text) > 20 for text in relple_tf.presets().values())
