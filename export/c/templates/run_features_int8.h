//  1. soil_front_end(scan, work, features) of front_end.h: stop if it is not SOIL_OK.
//  2. soil_distances(features, work, &t2, &q) of domain.h, soil_trust(t2, q) of scan.h: stop if it is SOIL_NOT_FINITE;
//     if it is SOIL_OUTSIDE, show it with the values.
//  3. input = feature / scale + zero point, rounded to the nearest integer (halves to even) and clipped to -128..127.
//  4. interpreter.Reset(), because a recurrent operator keeps its state from scan to scan; Invoke().
//  5. soil_to_lab(target, (output - zero point) * scale) of target_scaling.h.
//  6. soil_interval(target, value, soil_difficulty(t2), &low, &high).
