/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#ifndef SOIL_MODEL_H
#define SOIL_MODEL_H

#define SOIL_MODEL_BANDS $bands
#define SOIL_MODEL_BYTES $bytes
#define SOIL_MODEL_GIVES_LAB_UNITS $gives_lab_units
$arena

// To run a scan:
$one_scan

// Index of the output of each target, in the order of target_scaling.h: int at[] = SOIL_MODEL_OUTPUT_OF_TARGET;
#define SOIL_MODEL_OUTPUT_OF_TARGET {$outputs_of_targets}

// Inputs and outputs of the interpreter. If a scale is defined: real = scale * (stored - zero point), and the stored
// value is clipped to the range of its type.
$ports

extern const float soil_model_wavelengths_nm[SOIL_MODEL_BANDS];
extern const unsigned char soil_model[SOIL_MODEL_BYTES];

// For tflite::MicroMutableOpResolver<SOIL_MODEL_OPERATORS>.
#define SOIL_MODEL_OPERATORS $operator_count
#ifdef __cplusplus
template <typename Resolver>
void soil_model_add_operators(Resolver& resolver) {
$operators
}
#endif

#endif
