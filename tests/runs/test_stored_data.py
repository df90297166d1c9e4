"""Laws of data.npz, the data that a run stores."""

from dataclasses import replace

import numpy as np
import pytest

from relple_tf.errors import InputError
from relple_tf.runs.folder import data_hash
from relple_tf.runs.stored_data import load_data, save_data


@pytest.fixture
def soils(library):
    """A library with all optional arrays, and ids of several lengths and alphabets."""
    count = len(library)
    return replace(
        library,
        ids=np.array([f"Boden-{'ü' * (number % 3)}{number}" for number in range(count)]),
        groups=np.array([f"field {number // 7}" for number in range(count)]),
        coordinates=np.where(np.arange(count)[:, None] % 5 == 0, np.nan, np.full((count, 2), 7.25)),
        samples=np.array([f"sample {number // 2}" for number in range(count)]),
        scans=np.array([f"scan {number}" for number in range(count)]),
    )


def assert_equal(first, other):
    assert (first.source, first.quantity, list(first.targets)) == (other.source, other.quantity, list(other.targets))
    for name in ("spectra", "wavelengths_nm", "ids", "groups", "coordinates", "samples", "scans"):
        a, b = getattr(first, name), getattr(other, name)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    for name, values in first.targets.items():
        np.testing.assert_array_equal(values, other.targets[name])


@pytest.mark.parametrize("optional", [True, False])
def test_a_library_is_restored_bit_for_bit(soils, parts, tmp_path, optional):
    saved = soils if optional else replace(soils, groups=None, coordinates=None, samples=None, scans=None)
    save_data(tmp_path / "data.npz", saved, parts)
    loaded, loaded_parts = load_data(tmp_path / "data.npz")
    assert_equal(saved, loaded)
    np.testing.assert_array_equal(loaded_parts, parts)
    assert data_hash(loaded) == data_hash(saved)


@pytest.mark.parametrize("name", ["samples", "scans"])
def test_the_hash_of_the_data_covers_samples_and_scans(soils, name):
    renamed = getattr(soils, name).copy()
    renamed[0] = "other"
    hashes = {data_hash(replace(soils, **{name: labels})) for labels in (getattr(soils, name), renamed, None)}
    assert len(hashes) == 3


def test_equal_libraries_give_equal_bytes(soils, parts, tmp_path):
    for name in ("one.npz", "other.npz"):
        save_data(tmp_path / name, soils, parts)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()


def test_no_array_needs_pickle(soils, parts, tmp_path):
    save_data(tmp_path / "data.npz", soils, parts)
    with np.load(tmp_path / "data.npz", allow_pickle=False) as file:
        assert not any(file[name].dtype.hasobject for name in file.files)


def test_the_error_of_a_run_without_data_names_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"expected data\.npz.*--set run\.keep_data=true"):
        load_data(tmp_path / "data.npz")
