"""The C99 code that every firmware needs: the check of a scan, the limits of T2 and Q, the texts of a status."""

from export.c.source import code_file, fill, header_file, literal, text_literal
from export.runtime.soil_scan import STATUS_TEXTS
from relple_tf.spectra.library import ABSORBANCE_RANGE, FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR, REFLECTANCE_RANGE

QUANTITY = {
    "reflectance": "reflectance, which is 1 for a white reference (divide percent by 100)",
    "absorbance": "absorbance, log10(1/R) of a reflectance R that is 1 for a white reference",
}
"""Quantity -> its definition in a comment of scan.h."""

ABSORBANCE_OF = {
    "reflectance": "-log10f(value > {floor} ? value : {floor})",
    "absorbance": "value",
}
"""Quantity -> the C expression that converts `value` to absorbance."""


def scan(quantity: str, bands: int, limits: tuple[float, float]) -> tuple[str, str]:
    """Write the declarations and the definitions of the check of a scan.

    Args:
        quantity: Quantity of a scan, a key of QUANTITY.
        bands: Number of values in a scan.
        limits: The limits of T2 and Q.
    """
    low, high = REFLECTANCE_RANGE if quantity == "reflectance" else ABSORBANCE_RANGE
    declarations = fill("scan.h", bands=bands, quantity=QUANTITY[quantity], low=f"{low:g}", high=f"{high:g}")
    definitions = fill(
        "scan.c",
        lowest=literal(low),
        highest=literal(high),
        flattest=literal(FLATTEST_ABSORBANCE),
        limit_t2=literal(limits[0]),
        limit_q=literal(limits[1]),
        absorbance=ABSORBANCE_OF[quantity].format(floor=literal(REFLECTANCE_FLOOR)),
        texts=",\n".join(f"        {text_literal(text)}" for text in STATUS_TEXTS.values()),
    )
    return declarations, definitions


def scan_files(quantity: str, bands: int, limits: tuple[float, float]) -> dict[str, str]:
    """scan.h and scan.c; arguments as for `scan`."""
    declarations, definitions = scan(quantity, bands, limits)
    return {"scan.h": header_file("scan.h", declarations), "scan.c": code_file("scan.h", definitions)}
