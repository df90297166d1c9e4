#include "soil_model.h"

#include <math.h>

#define GOLDEN_SCANS $count

typedef struct {
    const char *name;
    int is_invalid;
    int is_outside;
    int is_near_limit; /* T2 or Q is within $margin of its limit: rounding may change the status */
    float value[SOIL_TARGETS]; /* of the trained model; 0 for an invalid scan */
    float scan[SOIL_BANDS];
} golden_scan;

/* Largest difference of a value, in the unit of its target. */
#if SOIL_TABLE_BITS == 16
static const float golden_tolerance[SOIL_TARGETS] = {$tolerance_16};
#else
static const float golden_tolerance[SOIL_TARGETS] = {$tolerance_32};
#endif

static const golden_scan golden_scans[GOLDEN_SCANS] = {
$scans
};
