/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */
#ifndef SOIL_DOMAIN_H
#define SOIL_DOMAIN_H

#include "front_end.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SOIL_COMPONENTS $components /* values of the work space */

/* How far a scan lies from the training soils: Hotelling's T2 from their mean, Q from their plane and from each of
 * them. `work` is overwritten. */
void soil_distances(const float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS], float work[SOIL_COMPONENTS], float *t2,
                    float *q);

#ifdef __cplusplus
}
#endif

#endif
