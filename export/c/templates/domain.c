/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#include "domain.h"

#include <math.h>

#define VIEW_CHANNELS $view_channels
#define NEIGHBOURS $neighbours
#define NEIGHBOUR_COMPONENTS $neighbour_components
$tables

void soil_distances(const float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS], float work[SOIL_COMPONENTS], float *t2,
                    float *q)
{
    int component, view, band, row;
    double whole = 0.0, within = 0.0, squares = 0.0, left;
    float nearest = 0.0f;

    for (view = 0; view < VIEW_CHANNELS; ++view) {
        for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
            const float centred =
                features[band * SOIL_CHANNELS + channel[view]] - mean[view * SOIL_FEATURE_BANDS + band];
            whole += (double)centred * (double)centred;
        }
    }
    for (component = 0; component < SOIL_COMPONENTS; ++component) {
        float score = bias[component], plain, scaled;
        for (view = 0; view < VIEW_CHANNELS; ++view) {
            for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
                score += kernel[component][view * SOIL_FEATURE_BANDS + band] *
                         features[band * SOIL_CHANNELS + channel[view]];
            }
        }
        scaled = score * inverse_sd[component];
        plain = score * inverse_scale[component];
        squares += (double)scaled * (double)scaled;
        within += (double)plain * (double)plain;
        work[component] = plain;
    }
    for (row = 0; row < NEIGHBOURS; ++row) {
        float apart = 0.0f;
        for (component = 0; component < NEIGHBOUR_COMPONENTS; ++component) {
            const float offset = work[component] - landmark[row][component];
            apart += offset * offset;
        }
        apart *= closeness[row];
        nearest = row == 0 || apart < nearest ? apart : nearest;
    }
    nearest *= nearest;
    nearest *= nearest;
    left = fabs(whole - within);
    *t2 = (float)squares;
    *q = left > (double)nearest ? (float)left : nearest;
}
