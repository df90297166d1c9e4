"""Properties of coordinates and of the spatial blocks computed from them."""

from dataclasses import replace

import numpy as np
import pytest

from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.coordinates import EARTH_RADIUS_KM, block_labels, read_coordinates


def library_at(coordinates):
    coordinates = np.asarray(coordinates, float)
    rows = len(coordinates)
    return SpectralLibrary(
        source="made",
        spectra=np.tile(np.linspace(0.2, 0.4, 10, dtype=np.float32), (rows, 1)),
        wavelengths_nm=np.linspace(1100, 2000, 10),
        quantity="reflectance",
        targets={},
        ids=np.array([f"s{row}" for row in range(1, rows + 1)]),
        coordinates=coordinates,
    )


def on_the_sphere(count, seed=0):
    """(count, 2) longitude and latitude, uniform over the Earth."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-180, 180, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))])


def widest_km(coordinates):
    """The longest straight line between two of these points, in km."""
    longitude, latitude = np.radians(coordinates).T
    x = np.cos(latitude) * np.cos(longitude)
    points = np.column_stack([x, np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    return EARTH_RADIUS_KM * np.linalg.norm(points[:, None] - points, axis=2).max()


@pytest.mark.parametrize("edge_km", [500, 2000])
def test_a_block_is_not_wider_than_a_square_of_its_edge(edge_km):
    points = on_the_sphere(20_000)
    labels = block_labels(library_at(points), edge_km)
    assert labels.max() + 1 == len(set(labels.tolist()))
    # Bound: diagonal of the square, with 20 % tolerance. Near the poles a block is a sector of a polar cap, up to two
    # edges wide.
    bound = np.where(np.abs(points[:, 1]) > 75, 2.0, 1.2 * np.sqrt(2))
    for label in range(labels.max() + 1):
        block = labels == label
        assert widest_km(points[block]) <= edge_km * bound[block].max()


def test_blocks_have_nearly_equal_areas():
    """Uniform points fall in equal numbers into all blocks below 60 degrees, where rounding of columns is small."""
    points = on_the_sphere(400_000)
    labels = block_labels(library_at(points), 1000)
    counts = np.bincount(labels)
    low = np.abs(points[:, 1]) < 60
    whole = np.setdiff1d(labels[low], labels[~low])
    expected = len(points) * 1000**2 / (4 * np.pi * EARTH_RADIUS_KM**2)
    np.testing.assert_allclose(counts[whole], expected, rtol=0.15)


def test_blocks_do_not_depend_on_other_rows_or_their_order():
    points = on_the_sphere(300)
    labels = block_labels(library_at(points), 1500)
    shuffled = np.random.default_rng(1).permutation(300)[:200]
    fewer = block_labels(library_at(points[shuffled]), 1500)
    same = labels[:, None] == labels
    np.testing.assert_array_equal(fewer[:, None] == fewer, same[np.ix_(shuffled, shuffled)])


def test_poles_and_the_180th_meridian_are_in_blocks():
    east, west, north, south = [180, 10], [-180, 10], [40, 90], [40, -90]
    labels = block_labels(library_at([east, west, north, south]), 100)
    assert labels[0] == labels[1]
    assert len(set(labels.tolist())) == 3
    assert set(block_labels(library_at(on_the_sphere(50)), 100_000).tolist()) == {0}


def test_coordinates_follow_their_rows():
    points = on_the_sphere(6)
    rows = library_at(points).rows(np.array([4, 1]))
    np.testing.assert_array_equal(rows.coordinates, points[[4, 1]])
    assert replace(library_at(points), coordinates=None).rows(np.array([4, 1])).coordinates is None


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ([181, 0], r"row 2 \(s2\) lies at longitude 181, latitude 0"),
        ([0, -90.5], "latitude -90.5.*-90..90"),
        ([np.nan, 5], "longitude nan, latitude 5.*NaN for both"),
        ([np.inf, 5], "longitude inf"),
    ],
)
def test_impossible_coordinates_are_refused(coordinates, message):
    with pytest.raises(InputError, match=message):
        library_at([[180, 90], coordinates]).checked()


def test_missing_coordinates_are_valid_but_a_wrong_shape_is_not():
    assert library_at([[np.nan, np.nan], [-180, -90]]).checked()
    with pytest.raises(InputError, match=r"shape \(2, 2\).*got \(2, 3\)"):
        library_at([[1, 2, 3], [4, 5, 6]]).checked()


def read(texts):
    rows = len(next(iter(texts.values())))
    return read_coordinates("t", texts, np.array([f"s{row}" for row in range(rows)]))


def test_longitude_comes_first_and_a_missing_coordinate_removes_both():
    coordinates, notes = read({"Lat": ["50.5", "-9999", "1"], "LON": ["5", "6", ""]})
    np.testing.assert_array_equal(coordinates, [[5, 50.5], [np.nan, np.nan], [np.nan, np.nan]])
    assert notes == ["coordinates are columns LON and Lat", "2 rows have no coordinates"]


@pytest.mark.parametrize(
    ("longitude", "message"),
    [("604312", "-180..180"), ("5°30'", "not every row holds decimal degrees"), ("", "are empty")],
)
def test_columns_without_decimal_degrees_are_ignored_with_a_note(longitude, message):
    coordinates, (note,) = read({"lon": [longitude], "lat": ["50"]})
    assert coordinates is None
    assert "lon and lat were not read as coordinates" in note
    assert message in note


def test_one_column_of_two_gives_no_coordinates():
    assert read({"latitude": ["50"], "x": ["5"]}) == (None, [])
