/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */
#ifndef SOIL_SCAN_H
#define SOIL_SCAN_H

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_BANDS $bands /* values of a scan */

typedef enum {
    SOIL_OK = 0,
    SOIL_OUTSIDE = 1, /* unlike the training soils */
    /* From here on a scan is invalid: no estimate may be shown. */
    SOIL_NOT_FINITE = 2,
    SOIL_OUT_OF_RANGE = 3,
    SOIL_FLAT = 4
} soil_status;

/* Whether this may be a scan: $quantity;
 * within $low..$high, by ascending wavelength, on those that card.json lists. Before every estimate: a model that
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
}
#endif

#endif
