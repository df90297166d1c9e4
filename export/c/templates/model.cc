/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */
#include "model.h"

const float soil_model_wavelengths_nm[SOIL_MODEL_BANDS] = {
$wavelengths_nm
};

// TFLM maps the model where it lies.
alignas(16) const unsigned char soil_model[SOIL_MODEL_BYTES] = {
$bytes
};
