/* Reads scans from standard input and writes status, values, T2 and Q of each to standard output, all as float. */
#include <stdio.h>

#include "soil_model.h"

int main(void)
{
    static float scan[SOIL_BANDS], work[SOIL_WORK_FLOATS];
    soil_result result;

    while (fread(scan, sizeof(float), SOIL_BANDS, stdin) == SOIL_BANDS) {
        float status;
        soil_estimate(scan, work, &result);
        status = (float)result.status;
        fwrite(&status, sizeof(float), 1, stdout);
        fwrite(result.value, sizeof(float), SOIL_TARGETS, stdout);
        fwrite(&result.t2, sizeof(float), 1, stdout);
        fwrite(&result.q, sizeof(float), 1, stdout);
    }
    return 0;
}
