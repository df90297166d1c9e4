//  1. soil_check(scan) of scan.h: stop where it is not SOIL_OK. The model gives NaN for such a scan, but not the cause,
//     and no NaN where TFLM is compiled with -ffast-math.
//  2. interpreter.Reset(), for a recurrent operator keeps its state from scan to scan; copy the scan to the input;
//     Invoke().
//  3. The outputs are target values in laboratory units, T2 and Q.
//  4. soil_trust(t2, q): no value is shown where it is SOIL_NOT_FINITE, nor one that is not finite; SOIL_OUTSIDE goes
//     with the values.
//  5. soil_interval(target, value, soil_difficulty(t2), &low, &high) of target_scaling.h.
// What soil_front_end, soil_distances and soil_to_lab do is in the model already: neither front_end.c nor domain.c is
// needed.
