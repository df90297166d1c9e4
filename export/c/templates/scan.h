#define SOIL_BANDS $bands /* values of a scan */

typedef enum {
    SOIL_OK = 0,
    SOIL_OUTSIDE = 1, /* different from the training soils */
    /* With these values the scan is invalid: there is no estimate. */
    SOIL_NOT_FINITE = 2,
    SOIL_OUT_OF_RANGE = 3,
    SOIL_FLAT = 4,
    SOIL_WRONG_WAVELENGTHS = 5
} soil_status;

/* Checks a scan: $quantity;
 * within $low..$high, at the wavelengths that card.json lists, in ascending order; interpolate a scan with other
 * wavelengths, and hold its end value up to input.end_tolerance_nm beyond its ends. Call it before every estimate:
 * for an invalid scan the model gives NaN, but not the cause. Neither this check nor T2 and Q detect absorbance times a
 * constant if all channels are SNV, or bands shifted by a small amount: check the instrument for these. */
soil_status soil_check(const float scan[SOIL_BANDS]);

/* SOIL_OK; SOIL_OUTSIDE if T2 or Q is above its limit; SOIL_NOT_FINITE if T2 or Q is NaN or infinite. */
soil_status soil_trust(float t2, float q);

/* sqrt(T2 / limit of T2): intervals grow with it. */
float soil_difficulty(float t2);

/* 1 if the value is neither NaN nor infinite. It tests bits, because -ffast-math removes other tests. */
int soil_is_finite(float value);

/* What to display beside or instead of the values, in plain ASCII. */
const char *soil_status_text(soil_status status);

/* Whether to display values: 1 for SOIL_OK; for SOIL_OUTSIDE only if the user asks for them; 0 for an invalid scan.
 * Display the text of the status in every case but SOIL_OK. */
int soil_shows_values(soil_status status, int user_asks);
