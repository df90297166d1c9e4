/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#include "front_end.h"

#include <math.h>

#define NEIGHBOURS $neighbours
#define POINTS $points
#define FLATTEST $flattest
$tables

soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS])
{
    const soil_status checked = soil_check(scan);
    int band, grid, channel, point;
    double lowest, highest, middle = 0.0, square = 0.0, sd;

    if (checked != SOIL_OK) {
        return checked;
    }

    for (grid = 0; grid < SOIL_GRID; ++grid) {
        double value = 0.0;
        for (point = 0; point < NEIGHBOURS; ++point) {
            value += (double)weight[grid][point] * soil_absorbance(scan[neighbour[grid][point]]);
        }
        work[grid] = value;
    }

    lowest = highest = work[0];
    for (grid = 0; grid < SOIL_GRID; ++grid) {
        lowest = work[grid] < lowest ? work[grid] : lowest;
        highest = work[grid] > highest ? work[grid] : highest;
        middle += work[grid] / SOIL_GRID;
    }
    /* soil_check tested this too, but interpolation may have made the scan constant. */
    if (highest - lowest <= (double)FLATTEST) {
        return SOIL_FLAT;
    }
    for (grid = 0; grid < SOIL_GRID; ++grid) {
        square += (work[grid] - middle) * (work[grid] - middle);
    }
    sd = sqrt(square / SOIL_GRID);

    for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
        for (channel = 0; channel < SOIL_CHANNELS; ++channel) {
            const double offset = of_snv[channel] ? middle : 0.0;
            const double scale = of_snv[channel] ? sd : 1.0;
            double value = 0.0;
            for (point = 0; point < POINTS; ++point) {
                value += (double)kernel[channel][point] * (work[band + point] - offset);
            }
            features[band * SOIL_CHANNELS + channel] =
                (float)((value / scale - (double)mean[band][channel]) * (double)inverse_sd[band][channel]);
        }
    }
    return SOIL_OK;
}
