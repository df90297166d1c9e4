/* From a scan at the wavelengths of the model to values, intervals and status: the rules of soil_scan.py. */

const invalid = reason => ({ status: "invalid", reason, values: null, intervals: null, T2: null, Q: null });

/* Predicts from a scan (bands,), a Float32Array. */
function estimate(facts, model, scan) {
  const reason = impossible(facts, scan);
  if (reason) return invalid(reason);
  const outputs = {};
  for (const [name, [value]] of Object.entries(computeModel(model, scan))) outputs[name] = value;
  if (!Object.values(outputs).every(Number.isFinite)) return invalid("the output of the model is not finite");
  const { limits } = facts;
  const far = ["T2", "Q"].filter(name => outputs[name] > limits[name]);
  const difficulty = Math.sqrt(Math.max(outputs.T2, 0) / limits.T2);
  const values = {}, intervals = {};
  for (const [name, target] of Object.entries(facts.targets)) {
    values[name] = outputs[name];
    intervals[name] = intervalOf(target.interval, outputs[name], difficulty);
  }
  return {
    status: far.length ? "outside" : "ok",
    reason: far.length ? `different from the training soils (${far.join(" and ")} above the limit)` : "",
    values, intervals, T2: outputs.T2, Q: outputs.Q,
  };
}

/* Why a scan cannot be that of a soil; empty if it can. */
function impossible(facts, scan) {
  const { quantity, wavelengths_nm: nm, check } = facts;
  const { low, high, floor, flattest } = check;
  const notFinite = scan.findIndex(value => !Number.isFinite(value));
  if (notFinite >= 0) return `not a finite number at ${general(nm[notFinite], 6)} nm`;
  const smallest = scan.reduce((a, b) => Math.min(a, b));
  const largest = scan.reduce((a, b) => Math.max(a, b));
  // The limits are compared as float32, as NumPy compares them.
  if (smallest < Math.fround(low) || largest > Math.fround(high)) {
    const band = scan.findIndex(value => value < Math.fround(low) || value > Math.fround(high));
    const isPercent = smallest > high && largest <= 150;
    const remedy = quantity === "reflectance" ? "divide by 100" : "give log10(100 / percent)";
    const hint = isPercent ? `; is it percent? ${remedy}` : "";
    return `${quantity} ${general(scan[band], 6)} at ${general(nm[band], 6)} nm, ` +
      `expected ${general(low, 6)}..${general(high, 6)}${hint}`;
  }
  const absorbance = quantity === "reflectance" ? scan.map(value => -Math.log10(Math.max(value, floor))) : scan;
  const range = absorbance.reduce((a, b) => Math.max(a, b)) - absorbance.reduce((a, b) => Math.min(a, b));
  return range <= flattest ? "constant spectrum" : "";
}

/* [lower end, upper end] in laboratory units, or null. */
function intervalOf(facts, value, difficulty) {
  if (!facts || facts.half_width === null) return null;
  const centre = facts.root ? Math.sqrt(Math.max(value, 0)) : value;
  const reach = facts.half_width * (1 + facts.growth * difficulty);
  return [centre - reach, centre + reach].map(end => {
    const inUnits = facts.root ? Math.max(end, 0) ** 2 : end;
    return facts.non_negative ? Math.max(inUnits, 0) : inUnits;
  });
}

/* `keep` if the value is precise enough for the need, else `send`: send the soil to the laboratory. */
function decisionOf(facts, result, target, need) {
  const ends = result.status === "ok" ? result.intervals[target] : null;
  if (!ends) return "send";
  const value = result.values[target];
  return Math.max(value - ends[0], ends[1] - value) <= need * (1 + facts.check.need_tolerance) ? "keep" : "send";
}

/* A number with some significant digits and without trailing zeros, as `%.6g` prints it. */
function general(value, digits) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 10 ** digits)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const sign = exponent[0];
    return `${Number(mantissa)}e${sign}${exponent.slice(1).padStart(2, "0")}`;
  }
  return String(Number(value.toPrecision(digits)));
}
