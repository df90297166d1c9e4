"""The C99 code that every firmware needs: the check of a scan and the limits of T2 and Q."""

from export.c.source import fill, literal
from relple_tf.spectra.library import ABSORBANCE_RANGE, FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR, REFLECTANCE_RANGE

QUANTITY = {
    "reflectance": "reflectance, which is 1 for a white reference (divide percent by 100)",
    "absorbance": "absorbance, log10(1/R) of a reflectance R that is 1 for a white reference",
}
"""Quantity -> its definition in a comment of scan.h."""

ABSORBANCE_OF = {
    "reflectance": "-log10((double)(value > {floor} ? value : {floor}))",
    "absorbance": "(double)value",
}
"""Quantity -> the C expression that converts `value` to absorbance."""


def scan(quantity: str, bands: int, limits: tuple[float, float]) -> dict[str, str]:
    """Write scan.h and scan.c.

    Args:
        quantity: Quantity of a scan, a key of QUANTITY.
        bands: Number of values in a scan.
        limits: The limits of T2 and Q.
    """
    low, high = REFLECTANCE_RANGE if quantity == "reflectance" else ABSORBANCE_RANGE
    header = fill("scan.h", bands=bands, quantity=QUANTITY[quantity], low=f"{low:g}", high=f"{high:g}")
    code = fill(
        "scan.c",
        lowest=literal(low),
        highest=literal(high),
        flattest=literal(FLATTEST_ABSORBANCE),
        limit_t2=literal(limits[0]),
        limit_q=literal(limits[1]),
        absorbance=ABSORBANCE_OF[quantity].format(floor=literal(REFLECTANCE_FLOOR)),
    )
    return {"scan.h": header, "scan.c": code}
