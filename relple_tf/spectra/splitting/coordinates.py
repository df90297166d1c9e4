"""Coordinates of samples in degrees, and the spatial blocks that a split does not divide."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import HIGHEST_DEGREES, SpectralLibrary
from relple_tf.spectra.readers.columns import find_coordinates
from relple_tf.spectra.readers.laboratory_cells import read_numbers

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG); the error of a sphere is below 0.6 %."""


def read_coordinates(
    source: str, texts: Mapping[str, Sequence[str]], ids: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.float64] | None, list[str]]:
    """Longitude and latitude of every row, if the table has such columns.

    Most runs need no coordinates, so columns that do not hold decimal degrees (metres of a map projection, degrees and
    minutes) are ignored with a note, not refused.

    Args:
        source: Name of the table, for messages.
        texts: Column name -> n cells.
        ids: (n,), for messages.

    Returns:
        (n, 2) longitude and latitude in degrees, both NaN where either is missing; None without such columns. And
        notes.
    """
    pair = find_coordinates(list(texts))
    if pair is None:
        return None, []
    names = " and ".join(pair)
    try:
        coordinates = np.column_stack([read_numbers(source, name, texts[name], ids)[0] for name in pair])
    except InputError:
        return None, [f"columns {names} were not read as coordinates: not every row holds decimal degrees"]
    coordinates[np.isnan(coordinates).any(axis=1)] = np.nan
    if np.any(np.abs(coordinates) > HIGHEST_DEGREES):
        return None, [
            f"columns {names} were not read as coordinates: degrees must lie within -180..180 (longitude) "
            "and -90..90 (latitude)"
        ]
    missing = int(np.isnan(coordinates[:, 0]).sum())
    if missing == len(coordinates):
        return None, [f"columns {names} were not read as coordinates: they are empty"]
    notes = [f"coordinates are columns {names}"]
    if missing:
        notes.append(f"{missing} rows have no coordinates")
    return coordinates, notes


def block_labels(library: SpectralLibrary, edge_km: float) -> npt.NDArray[np.intp]:
    """Number the spatial block of each row.

    The Earth is divided into latitude bands about `edge_km` wide, and each band into equal columns. The number of
    columns is chosen so that the length of a column at the middle of its band, R cos(latitude) times its range of
    longitudes, is nearest to `edge_km`. So blocks are nearly square and of nearly equal area, and none is cut at the
    180th meridian. Blocks do not depend on the rows. Samples on two sides of an edge may still be close (Roberts et
    al. 2017, Ecography 40, 913-929, on spatial blocks for validation).

    Args:
        library: Rows with coordinates.
        edge_km: Edge length of a block in km, above 0.

    Returns:
        (n,) 0, 1, 2, ...

    Raises:
        InputError: the library or a row has no coordinates.
    """
    if library.coordinates is None:
        raise InputError(
            f"{library.source}: split.block_km={edge_km:g} needs coordinates, but the rows have none; add columns "
            "longitude and latitude in decimal degrees, or use --set split.block_km=0"
        )
    longitude, latitude = library.coordinates.T
    if (bad := np.flatnonzero(np.isnan(longitude))).size:
        raise InputError(
            f"{library.source}: split.block_km={edge_km:g} needs the coordinates of every row, but "
            f"{len(bad)} rows have none, the first is row {bad[0] + 1} ({library.ids[bad[0]]}); "
            "add them, remove the rows, or use --set split.block_km=0"
        )
    bands = max(round(np.pi * EARTH_RADIUS_KM / edge_km), 1)
    band = np.minimum(np.floor((latitude + 90) / 180 * bands), bands - 1)
    middle = np.radians((band + 0.5) / bands * 180 - 90)
    columns = np.maximum(np.round(2 * np.pi * EARTH_RADIUS_KM * np.cos(middle) / edge_km), 1)
    # 180 degrees east and 180 degrees west are the same meridian.
    column = np.floor((longitude + 180) / 360 * columns) % columns
    labels: npt.NDArray[np.intp] = np.unique(np.column_stack([band, column]), axis=0, return_inverse=True)[1]
    return labels
