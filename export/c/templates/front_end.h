/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */
#ifndef SOIL_FRONT_END_H
#define SOIL_FRONT_END_H

#include "scan.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_GRID $grid /* values of the work space */
#define SOIL_FEATURE_BANDS $feature_bands
#define SOIL_CHANNELS $channels

/* Features of a scan, band by band, the channels of a band side by side: what a core reads, before it is quantised.
 * Checks the scan as soil_check does. In double precision: derivatives are small differences of large numbers. `work`
 * is overwritten; `features` are written only where SOIL_OK is returned. */
soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS]);

#ifdef __cplusplus
}
#endif

#endif
