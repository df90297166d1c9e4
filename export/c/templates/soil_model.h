/* One call gives the estimate of a scan:
 *
 *     static float work[SOIL_WORK_FLOATS];
 *     soil_result result;
 *     if (soil_estimate(scan, work, &result) == SOIL_OK) { ... result.value[0] ... }
 *
 * C99 with math.h; no dynamic memory, no double precision, no state between calls. */

#define SOIL_MODEL_ID $model_id /* preset and SHA-256 of the float32 model */
#define SOIL_RECIPE $recipe
#define SOIL_TABLE_BITS $table_bits
#define SOIL_DATA_SHA256 $data_sha256 /* of the training data */
#define SOIL_VERSION $version /* of relple_tf */

#define SOIL_WORK_FLOATS $work_floats /* $work_bytes bytes */

typedef struct {
    soil_status status;
    /* In laboratory units, in the order of SOIL_TARGET_...; NaN for an invalid scan. For SOIL_OUTSIDE they are not
     * reliable: see soil_shows_values. */
    float value[SOIL_TARGETS];
    /* Prediction intervals of the laboratory values; NaN for a target that has none. */
    float low[SOIL_TARGETS];
    float high[SOIL_TARGETS];
    float t2; /* distance from the mean of the training soils */
    float q;  /* the larger of the residual outside their plane and the scaled distance from the nearest of them */
} soil_result;

/* Checks a scan and estimates all targets; soil_check describes the scan. Returns result->status. */
soil_status soil_estimate(const float scan[SOIL_BANDS], float work[SOIL_WORK_FLOATS], soil_result *result);

/* Whether to keep the estimate of a target: 1 if the status is SOIL_OK and the larger distance of the value to the ends
 * of its interval is at most `need`, in the unit of the target; 0: send the soil to the laboratory. */
int soil_keep(const soil_result *result, int target, float need);

/* For an instrument with other wavelengths. The check is needed once; it returns SOIL_OK, or SOIL_WRONG_WAVELENGTHS if
 * nm[n] is not ascending, ends more than $low_tolerance nm above the first or $high_tolerance nm below the last
 * wavelength of the model ($first_nm to $last_nm nm), or has a gap. The second function then interpolates each scan
 * linearly; beyond its ends it holds the end value. Neither keeps a pointer. */
soil_status soil_check_wavelengths(const float nm[], int n);
void soil_interpolate(const float nm[], const float values[], int n, float scan[SOIL_BANDS]);

/* A wavelength of the model, in nm. */
float soil_wavelength_nm(int band);
