/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#ifndef SOIL_FRONT_END_H
#define SOIL_FRONT_END_H

#include "scan.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_GRID $grid /* values of the work space */
#define SOIL_FEATURE_BANDS $feature_bands
#define SOIL_CHANNELS $channels

/* Computes the features of a scan, the input of the int8 network before quantisation: band by band, all channels of a
 * band together. Checks the scan as soil_check does. Computes in double precision, because derivatives are small
 * differences of large numbers. Overwrites `work`; writes `features` only if it returns SOIL_OK. */
soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS]);

#ifdef __cplusplus
}
#endif

#endif
