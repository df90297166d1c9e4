/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#include "model.h"

const float soil_model_wavelengths_nm[SOIL_MODEL_BANDS] = {
$wavelengths_nm
};

// TFLM reads the model in place, without a copy.
alignas(16) const unsigned char soil_model[SOIL_MODEL_BYTES] = {
$bytes
};
