#define SOIL_TARGETS $count
$indices

/* Names contain the unit. The unit of pH, and of names without a unit, is the empty string. */
const char *soil_target_name(int target);
const char *soil_target_unit(int target);

/* Prediction interval of the laboratory value, with the coverage in card.json; `difficulty` is the result of
 * soil_difficulty. Returns 0 if the target has no interval: then writes nothing, and the value must be shown as a
 * value without an interval. */
int soil_interval(int target, float value, float difficulty, float *low, float *high);
