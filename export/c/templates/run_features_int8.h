//  1. soil_front_end(scan, work, features) of front_end.h: stop where it is not SOIL_OK.
//  2. soil_distances(features, work, &t2, &q) of domain.h, soil_trust(t2, q) of scan.h: stop at SOIL_NOT_FINITE;
//     SOIL_OUTSIDE goes with the values.
//  3. input = feature / scale + zero point, to the nearest integer (halves to the even one), -128 at least and 127 at
//     most.
//  4. interpreter.Reset(), for a recurrent operator keeps its state from scan to scan; Invoke().
//  5. soil_to_lab(target, (output - zero point) * scale) of target_scaling.h.
//  6. soil_interval(target, value, soil_difficulty(t2), &low, &high).
