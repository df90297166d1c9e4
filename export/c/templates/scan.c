#define LOWEST $lowest
#define HIGHEST $highest
#define FLATTEST $flattest
#define LIMIT_T2 $limit_t2
#define LIMIT_Q $limit_q

int soil_is_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

static float absorbance(float value)
{
    return $absorbance;
}

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
    return fabsf(absorbance(highest) - absorbance(lowest)) <= FLATTEST ? SOIL_FLAT : SOIL_OK;
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
    return sqrtf((t2 > 0.0f ? t2 : 0.0f) / LIMIT_T2);
}

const char *soil_status_text(soil_status status)
{
    static const char *const texts[] = {
$texts
    };
    return texts[status];
}

int soil_shows_values(soil_status status, int user_asks)
{
    return status == SOIL_OK || (status == SOIL_OUTSIDE && user_asks);
}
