/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */
#ifndef SOIL_TARGET_SCALING_H
#define SOIL_TARGET_SCALING_H

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_TARGETS $count
$indices

/* Names carry their unit, which is there alone, too; pH and names without one have an empty one. */
const char *soil_target_name(int target);
const char *soil_target_unit(int target);

/* From standard deviations to laboratory units; only where model.h says SOIL_MODEL_GIVES_LAB_UNITS 0, for else the
 * model has done it. */
float soil_to_lab(int target, float modelled);

/* The range that holds the laboratory value in as many soils as card.json says; `difficulty` is soil_difficulty's.
 * Returns 0 where there is none: then nothing is written, and a value must be shown as one without a range. */
int soil_interval(int target, float value, float difficulty, float *low, float *high);

#ifdef __cplusplus
}
#endif

#endif
