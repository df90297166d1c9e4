static const struct {
    const char *name;
    const char *unit;
    int root;
    int non_negative;
    float half_width; /* negative: no interval */
    float growth;
} targets[SOIL_TARGETS] = {
$rows
};

const char *soil_target_name(int target)
{
    return target < 0 || target >= SOIL_TARGETS ? "" : targets[target].name;
}

const char *soil_target_unit(int target)
{
    return target < 0 || target >= SOIL_TARGETS ? "" : targets[target].unit;
}

static float from_modelled(int target, float value)
{
    if (targets[target].root) {
        return value < 0.0f ? 0.0f : value * value;
    }
    return targets[target].non_negative && value < 0.0f ? 0.0f : value;
}

int soil_interval(int target, float value, float difficulty, float *low, float *high)
{
    const float centre = targets[target].root ? sqrtf(value > 0.0f ? value : 0.0f) : value;
    const float reach = targets[target].half_width * (1.0f + targets[target].growth * difficulty);
    if (targets[target].half_width < 0.0f) {
        return 0;
    }
    *low = from_modelled(target, centre - reach);
    *high = from_modelled(target, centre + reach);
    return 1;
}
