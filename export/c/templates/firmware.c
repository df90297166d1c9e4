/* The smallest program with one estimate; its sections are the flash and the static RAM that a model needs. */
#include "soil_model.h"

static float scan[SOIL_BANDS];
static float work[SOIL_WORK_FLOATS];
static soil_result result;

int main(void)
{
    soil_estimate(scan, work, &result);
    return (int)result.status;
}
