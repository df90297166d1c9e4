//  1. soil_check(scan) of scan.h: stop if it is not SOIL_OK. The model gives NaN for such a scan, but not the cause; it
//     gives other values if TFLM is compiled with -ffast-math.
//  2. interpreter.Reset(), because a recurrent operator keeps its state from scan to scan; copy the scan to the input;
//     Invoke().
//  3. The outputs are the targets in laboratory units, T2 and Q.
//  4. soil_trust(t2, q): if it is SOIL_NOT_FINITE, show no value; if it is SOIL_OUTSIDE, show it with the values. Never
//     show a value that is not finite.
//  5. soil_interval(target, value, soil_difficulty(t2), &low, &high) of target_scaling.h.
// The model contains the work of soil_front_end, soil_distances and soil_to_lab: front_end.c and domain.c are not
// needed.
