#define SAME_NM $same_nm
#define GRID_STEP_NM $grid_step
#define NEED_TOLERANCE $need_tolerance

/* A part of the model. It is not inlined, so that its instructions can be counted; this is also a little faster. */
#ifdef __GNUC__
#define PART static __attribute__((noinline))
#else
#define PART static
#endif

$tables

$kernels

$functions

soil_status soil_estimate(const float scan[SOIL_BANDS], float work[SOIL_WORK_FLOATS], soil_result *result)
{
    int target, all_finite = 1;
    float difficulty;

    result->t2 = result->q = NAN;
    for (target = 0; target < SOIL_TARGETS; ++target) {
        result->value[target] = result->low[target] = result->high[target] = NAN;
    }
    result->status = soil_check(scan);
    if (result->status != SOIL_OK) {
        return result->status;
    }
$calls
    for (target = 0; target < SOIL_TARGETS; ++target) {
        static const uint16_t place[SOIL_TARGETS] = {$places};
        result->value[target] = work[place[target]];
        all_finite = all_finite && soil_is_finite(result->value[target]);
    }
    result->t2 = $t2;
    result->q = $q;
    result->status = all_finite ? soil_trust(result->t2, result->q) : SOIL_NOT_FINITE;
    if (result->status > SOIL_OUTSIDE) {
        result->t2 = result->q = NAN;
    }
    difficulty = soil_difficulty(result->t2);
    for (target = 0; target < SOIL_TARGETS; ++target) {
        if (result->status > SOIL_OUTSIDE) {
            result->value[target] = NAN;
        } else {
            soil_interval(target, result->value[target], difficulty, &result->low[target], &result->high[target]);
        }
    }
    return result->status;
}

int soil_keep(const soil_result *result, int target, float need)
{
    float below, above, half_width;
    if (target < 0 || target >= SOIL_TARGETS) {
        return 0;
    }
    below = result->value[target] - result->low[target];
    above = result->high[target] - result->value[target];
    half_width = below > above ? below : above;
    return result->status == SOIL_OK && soil_is_finite(half_width) && half_width <= need * (1.0f + NEED_TOLERANCE);
}

float soil_wavelength_nm(int band)
{
$wavelength
}

/* Largest distance of a band of the model to the nearest band of a scan. */
static float largest_gap_nm(int band)
{
    const int before = band > 0 ? band - 1 : 0, after = band < SOIL_BANDS - 1 ? band + 1 : band;
    const float step = (soil_wavelength_nm(after) - soil_wavelength_nm(before)) / (float)(after - before);
    return step > GRID_STEP_NM ? step : GRID_STEP_NM;
}

soil_status soil_check_wavelengths(const float nm[], int n)
{
    int band, i, next = 0;

    for (i = 0; i < n; ++i) {
        if (!soil_is_finite(nm[i]) || (i > 0 && nm[i] <= nm[i - 1])) {
            return SOIL_WRONG_WAVELENGTHS;
        }
    }
    if (n < 2 || nm[0] > soil_wavelength_nm(0) + $low_tolerance_f + SAME_NM ||
        nm[n - 1] < soil_wavelength_nm(SOIL_BANDS - 1) - $high_tolerance_f - SAME_NM) {
        return SOIL_WRONG_WAVELENGTHS;
    }
    for (band = 0; band < SOIL_BANDS; ++band) {
        const float at = soil_wavelength_nm(band), reach = largest_gap_nm(band) + SAME_NM;
        while (next < n && nm[next] < at) {
            ++next;
        }
        if (next > 0 && next < n && at - nm[next - 1] > reach && nm[next] - at > reach) {
            return SOIL_WRONG_WAVELENGTHS;
        }
    }
    return SOIL_OK;
}

void soil_interpolate(const float nm[], const float values[], int n, float scan[SOIL_BANDS])
{
    int band, next = 0;

    for (band = 0; band < SOIL_BANDS; ++band) {
        const float at = soil_wavelength_nm(band);
        while (next < n && nm[next] < at) {
            ++next;
        }
        if (next == 0 || next == n) {
            scan[band] = values[next == n ? n - 1 : 0];
        } else {
            const float share = (at - nm[next - 1]) / (nm[next] - nm[next - 1]);
            scan[band] = values[next - 1] + share * (values[next] - values[next - 1]);
        }
    }
}
