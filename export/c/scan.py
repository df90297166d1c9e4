"""What every firmware needs as plain C99, without tables: is this a scan, may its estimates be trusted.

Apart from `export.c.front_end` and `export.c.domain`, whose tables a device that runs a whole model does without.
"""

from export.c.front_end import FrontEnd
from export.c.source import NOTICE, literal
from relple_tf.spectra.library import ABSORBANCE_RANGE, FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR, REFLECTANCE_RANGE


def scan(constants: FrontEnd, limits: tuple[float, float]) -> dict[str, str]:
    """scan.h and scan.c.

    Args:
        constants: Of the front end.
        limits: Of T2 and Q.
    """
    low, high = REFLECTANCE_RANGE if constants.quantity == "reflectance" else ABSORBANCE_RANGE
    header = SCAN_H.format(bands=constants.bands, quantity=WORDS[constants.quantity], low=f"{low:g}", high=f"{high:g}")
    definitions = {
        "LOWEST": low,
        "HIGHEST": high,
        "FLATTEST": FLATTEST_ABSORBANCE,
        "LIMIT_T2": limits[0],
        "LIMIT_Q": limits[1],
    }
    text = "".join(f"#define {name} {literal(value)}\n" for name, value in definitions.items())
    absorbance = ABSORBANCE_OF[constants.quantity].replace("FLOOR", literal(REFLECTANCE_FLOOR))
    code = SCAN_C.replace("DEFINITIONS\n", text).replace("ABSORBANCE\n", absorbance)
    return {"scan.h": NOTICE + header, "scan.c": NOTICE + code}


WORDS = {
    "reflectance": "reflectance, of which a white reference has 1 (divide percent by 100)",
    "absorbance": "absorbance, log10(1/R) of reflectances R of which a white reference has 1",
}

ABSORBANCE_OF = {
    "reflectance": """\
double soil_absorbance(float value)
{
    return -log10((double)(value > FLOOR ? value : FLOOR));
}
""",
    "absorbance": """\
double soil_absorbance(float value)
{
    return (double)value;
}
""",
}

SCAN_H = """\
#ifndef SOIL_SCAN_H
#define SOIL_SCAN_H

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_BANDS {bands} /* values of a scan */

typedef enum {{
    SOIL_OK = 0,
    SOIL_OUTSIDE = 1, /* unlike the training soils */
    /* From here on a scan is invalid: no estimate may be shown. */
    SOIL_NOT_FINITE = 2,
    SOIL_OUT_OF_RANGE = 3,
    SOIL_FLAT = 4
}} soil_status;

/* Whether this may be a scan: {quantity};
 * within {low}..{high}, by ascending wavelength, on those that card.json lists. Before every estimate: a model that
 * reads scans gives NaN for the others, a model that reads features answers anything. Neither this nor the distances
 * see absorbance times a constant where all channels are SNV, or bands that are shifted a little: check the instrument
 * itself. */
soil_status soil_check(const float scan[SOIL_BANDS]);

/* SOIL_OK, SOIL_OUTSIDE where a distance is above its limit, SOIL_NOT_FINITE where one is no number. */
soil_status soil_trust(float t2, float q);

/* T2 as a distance in units of its limit, by which intervals grow. */
float soil_difficulty(float t2);

/* Whether a number is one: bits, so that -ffast-math cannot take it away. */
int soil_is_finite(float value);

/* A value of a scan as absorbance. */
double soil_absorbance(float value);

#ifdef __cplusplus
}}
#endif

#endif
"""

SCAN_C = """\
#include "scan.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

DEFINITIONS

int soil_is_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

ABSORBANCE

soil_status soil_check(const float scan[SOIL_BANDS])
{
    float lowest = HIGHEST, highest = LOWEST;
    int band;

    for (band = 0; band < SOIL_BANDS; ++band) {
        if (!soil_is_finite(scan[band])) {
            return SOIL_NOT_FINITE;
        }
        if (scan[band] < LOWEST || scan[band] > HIGHEST) {
            return SOIL_OUT_OF_RANGE;
        }
        lowest = scan[band] < lowest ? scan[band] : lowest;
        highest = scan[band] > highest ? scan[band] : highest;
    }
    return fabs(soil_absorbance(highest) - soil_absorbance(lowest)) <= (double)FLATTEST ? SOIL_FLAT : SOIL_OK;
}

soil_status soil_trust(float t2, float q)
{
    if (!soil_is_finite(t2) || !soil_is_finite(q)) {
        return SOIL_NOT_FINITE;
    }
    return t2 <= LIMIT_T2 && q <= LIMIT_Q ? SOIL_OK : SOIL_OUTSIDE;
}

float soil_difficulty(float t2)
{
    return sqrtf(t2 / LIMIT_T2);
}
"""
