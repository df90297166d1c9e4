"""Where samples were taken: coordinates in degrees, and blocks of land that a split leaves whole."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.library import HIGHEST_DEGREES, SpectralLibrary
from relple_tf.spectra.readers.columns import find_coordinates
from relple_tf.spectra.readers.laboratory_columns import read_numbers

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG); as a sphere it is right within 0.6 %."""


def read_coordinates(
    source: str, texts: Mapping[str, Sequence[str]], ids: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.float64] | None, list[str]]:
    """Longitude and latitude of every row, where the table has columns of them.

    Most runs read no coordinates, so columns that do not hold decimal degrees (metres of a map, degrees with minutes)
    are left aside and said, not refused.

    Args:
        source: Name of the table, for messages.
        texts: Column name -> n cells.
        ids: (n,), for messages.

    Returns:
        (n, 2) longitude, latitude in degrees, both NaN where one is not given; None without such columns. And notes.
    """
    pair = find_coordinates(list(texts))
    if pair is None:
        return None, []
    names = " and ".join(pair)
    try:
        coordinates = np.column_stack([read_numbers(source, name, texts[name], ids)[0] for name in pair])
    except InputError:
        return None, [f"columns {names} were not taken as coordinates: they are not decimal degrees in every row"]
    coordinates[np.isnan(coordinates).any(axis=1)] = np.nan
    if np.any(np.abs(coordinates) > HIGHEST_DEGREES):
        return None, [
            f"columns {names} were not taken as coordinates: degrees lie within -180..180 (longitude) "
            "and -90..90 (latitude)"
        ]
    missing = int(np.isnan(coordinates[:, 0]).sum())
    if missing == len(coordinates):
        return None, [f"columns {names} were not taken as coordinates: they are empty"]
    notes = [f"coordinates are columns {names}"]
    if missing:
        notes.append(f"{missing} rows have no coordinates")
    return coordinates, notes


def block_labels(library: SpectralLibrary, edge_km: float) -> npt.NDArray[np.intp]:
    """Number the blocks of land that the rows come from.

    Bands of latitude about `edge_km` wide are cut into equal columns, as many as bring the length of a column along
    the middle of its band, R cos(latitude) times its longitudes, nearest to `edge_km`. So blocks are nearly squares
    of one area, and none is cut at the 180th meridian. Blocks are fixed on the Earth, whatever the rows; samples on
    two sides of an edge may still be close (Roberts et al. 2017, Ecography 40, 913-929, on blocks for validation).

    Args:
        library: Rows with coordinates.
        edge_km: Edge of a block, above 0.

    Returns:
        (n,) 0, 1, 2, ...

    Raises:
        InputError: the library has no coordinates, or a row has none.
    """
    if library.coordinates is None:
        raise InputError(
            f"{library.source}: split.block_km={edge_km:g} needs coordinates and the rows have none; give columns "
            "longitude and latitude in decimal degrees, or use --set split.block_km=0"
        )
    longitude, latitude = library.coordinates.T
    if (bad := np.flatnonzero(np.isnan(longitude))).size:
        raise InputError(
            f"{library.source}: split.block_km={edge_km:g} needs the coordinates of every row, and "
            f"{len(bad)} rows have none, the first is row {bad[0] + 1} ({library.ids[bad[0]]}); "
            "give them, remove the rows, or use --set split.block_km=0"
        )
    bands = max(round(np.pi * EARTH_RADIUS_KM / edge_km), 1)
    band = np.minimum(np.floor((latitude + 90) / 180 * bands), bands - 1)
    middle = np.radians((band + 0.5) / bands * 180 - 90)
    columns = np.maximum(np.round(2 * np.pi * EARTH_RADIUS_KM * np.cos(middle) / edge_km), 1)
    # 180 degrees east is 180 degrees west.
    column = np.floor((longitude + 180) / 360 * columns) % columns
    labels: npt.NDArray[np.intp] = np.unique(np.column_stack([band, column]), axis=0, return_inverse=True)[1]
    return labels
