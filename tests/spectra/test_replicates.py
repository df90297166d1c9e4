"""Properties of the average of replicate scans."""

from dataclasses import replace

import numpy as np
import pytest

from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.replicates import average_replicates

IDS = np.array(["b", "a", "b", "c", "a", "b"])
FIRST = [0, 1, 3]
"""First rows of b, a, c."""


def make(**changed):
    rng = np.random.default_rng(0)
    library = SpectralLibrary(
        source="made",
        spectra=rng.uniform(0.2, 0.6, (6, 150)).astype(np.float32),
        wavelengths_nm=1100 + 10.0 * np.arange(150),
        quantity="reflectance",
        targets={
            "OC_g_kg": np.array([1.1, 20, 1.1, np.nan, 22, 1.1]),
            "pH": np.array([np.nan, 7, 5, 6, np.nan, np.nan]),
        },
        ids=IDS,
        groups=np.array(["x", "y", "x", "y", "y", "x"]),
        parts=np.array(["train", "test", "train", "train", "test", "train"]),
        coordinates=np.array([[np.nan, np.nan], [-180, 1], [5, 50], [6, 51], [179.9, 1], [7, 52]]),
        notes=("read",),
    )
    return replace(library, **changed)


def test_a_row_is_the_mean_of_the_scans_and_measured_values_of_its_sample():
    library, averaged = make(), average_replicates(make()).checked()
    assert averaged.ids.tolist() == ["b", "a", "c"]
    for row, identity in enumerate(averaged.ids):
        scans = library.spectra[identity == IDS].astype(float)
        np.testing.assert_allclose(averaged.spectra[row], scans.mean(axis=0), rtol=1e-7)
    assert averaged.spectra.dtype == np.float32
    np.testing.assert_array_equal(averaged.targets["OC_g_kg"], [1.1, 21, np.nan])
    np.testing.assert_array_equal(averaged.targets["pH"], [5, 7, 6])
    for name in ("groups", "parts"):
        np.testing.assert_array_equal(getattr(averaged, name), getattr(library, name)[FIRST])


def test_coordinates_are_the_first_given_not_a_mean():
    np.testing.assert_array_equal(average_replicates(make()).coordinates, [[5, 50], [-180, 1], [6, 51]])


def test_notes_state_the_number_of_averaged_rows():
    assert average_replicates(make()).notes == (
        "read",
        "replicates: 6 scans were averaged into 3 samples",
        "OC_g_kg differs between the replicates of 1 samples: the mean is used",
    )


def test_single_scans_are_unchanged():
    library = make(ids=np.array(list("zyxwvu")))
    averaged = average_replicates(library)
    assert averaged.ids.tolist() == library.ids.tolist()
    np.testing.assert_array_equal(averaged.spectra, library.spectra)
    assert averaged.notes[-1] == "data.replicates=average: each sample has a single scan"
    np.testing.assert_array_equal(average_replicates(make()).spectra[2], make().spectra[3])


def test_averaging_is_idempotent():
    once = average_replicates(make())
    np.testing.assert_array_equal(average_replicates(once).spectra, once.spectra)


@pytest.mark.parametrize(("kind", "labels"), [("groups", list("xyxyzx")), ("parts", ["train"] * 4 + ["test"] * 2)])
def test_replicates_in_two_groups_or_parts_are_refused(kind, labels):
    with pytest.raises(InputError, match=rf"row 5 \(a\) is in {kind[:-1]} .*--set data\.replicates=keep") as error:
        average_replicates(make(**{kind: np.array(labels)}))
    assert "\n" not in str(error.value)
