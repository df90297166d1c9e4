/* Runs the golden scans and compares status and values with those of the trained model: exit code 0 if all agree. */
#include <math.h>
#include <stdio.h>

#include "golden.h"

static float work[SOIL_WORK_FLOATS];
static soil_result result;

/* Largest difference of a value, as a fraction of the tolerance of its target. */
static float largest_difference(const golden_scan *golden)
{
    float largest = 0.0f;
    int target;
    for (target = 0; target < SOIL_TARGETS; ++target) {
        const float difference = fabsf(result.value[target] - golden->value[target]) / golden_tolerance[target];
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

int main(void)
{
    int row, passed = 0;

    printf("%s, %s\n", SOIL_MODEL_ID, SOIL_RECIPE);
    for (row = 0; row < GOLDEN_SCANS; ++row) {
        const golden_scan *golden = &golden_scans[row];
        const soil_status status = soil_estimate(golden->scan, work, &result);
        const int is_invalid = status > SOIL_OUTSIDE;
        int agrees = is_invalid == golden->is_invalid;
        float difference = 0.0f;
        if (agrees && !is_invalid) {
            difference = largest_difference(golden);
            agrees = (status == SOIL_OUTSIDE) == golden->is_outside || golden->is_near_limit;
            /* The values of a scan outside the domain have no tolerance. */
            agrees = agrees && (golden->is_outside || difference <= 1.0f);
        }
        passed += agrees;
        printf("%s  %-32s %s", agrees ? "pass" : "FAIL", golden->name, soil_status_text(status));
        if (!is_invalid) {
            printf(", largest difference %.1f%% of the tolerance", 100.0 * (double)difference);
        }
        printf("\n");
    }
    printf("%d of %d golden scans pass\n", passed, GOLDEN_SCANS);
    return passed != GOLDEN_SCANS;
}
