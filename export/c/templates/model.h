/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json of the bundle describes the model. */
#ifndef SOIL_MODEL_H
#define SOIL_MODEL_H

#define SOIL_MODEL_BANDS $bands
#define SOIL_MODEL_BYTES $bytes
$arena

// To run a scan:
//  1. soil_check(scan) of scan.h: stop if it is not SOIL_OK. The model gives NaN for such a scan, but not the cause; it
//     gives other values if TFLM is compiled with -ffast-math.
//  2. interpreter.Reset(), because a recurrent operator keeps its state from scan to scan; copy the scan to the input;
//     Invoke().
//  3. The outputs are the targets in laboratory units, T2 and Q.
//  4. soil_trust(t2, q): if it is SOIL_NOT_FINITE, show no value; if it is SOIL_OUTSIDE, show it with the values. Never
//     show a value that is not finite.
//  5. soil_interval(target, value, soil_difficulty(t2), &low, &high) of targets.h.

// Index of the output of each target, in the order of targets.h: int at[] = SOIL_MODEL_OUTPUT_OF_TARGET;
#define SOIL_MODEL_OUTPUT_OF_TARGET {$outputs_of_targets}

// Inputs and outputs of the interpreter, all float.
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
