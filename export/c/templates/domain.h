/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#ifndef SOIL_DOMAIN_H
#define SOIL_DOMAIN_H

#include "front_end.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_COMPONENTS $components /* values of the work space */

/* Domain statistics of a scan: T2 is Hotelling's distance from the mean of the training soils; Q is the larger of the
 * residual outside their plane and the scaled distance from the nearest training soil. Overwrites `work`. */
void soil_distances(const float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS], float work[SOIL_COMPONENTS], float *t2,
                    float *q);

#ifdef __cplusplus
}
#endif

#endif
