/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#ifndef SOIL_TARGET_SCALING_H
#define SOIL_TARGET_SCALING_H

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_TARGETS $count
$indices

/* Names contain the unit. The unit of pH, and of names without a unit, is the empty string. */
const char *soil_target_name(int target);
const char *soil_target_unit(int target);

/* Converts standard deviations to laboratory units. Needed only if SOIL_MODEL_GIVES_LAB_UNITS in model.h is 0;
 * otherwise the model does it. */
float soil_to_lab(int target, float modelled);

/* Prediction interval of the laboratory value, with the coverage in card.json; `difficulty` is the result of
 * soil_difficulty. Returns 0 if the target has no interval: then writes nothing, and the value must be shown as a
 * value without an interval. */
int soil_interval(int target, float value, float difficulty, float *low, float *high);

#ifdef __cplusplus
}
#endif

#endif
