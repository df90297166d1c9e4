/* A result as an element of the page, and all results as CSV. */

const STATUS_WORDS = { ok: "ok", outside: "outside", invalid: "invalid" };

/* The list item of a scan { file, id, values, result }. */
function resultItem(scan, facts, quantiles, options) {
  const { result } = scan;
  const item = element("li", {},
    element("div", { class: "head" },
      element("h3", {}, scan.file ? `${scan.id} (${scan.file})` : scan.id),
      element("span", { class: `badge ${result.status}` }, STATUS_WORDS[result.status])));
  if (result.status === "invalid") item.append(element("p", {}, `This is not the scan of a soil: ${result.reason}.`));
  if (result.status === "outside") item.append(...whyOutside(scan, facts, quantiles));
  const isShown = result.status === "ok" || (result.status === "outside" && options.showOutside);
  if (isShown) item.append(valueTable(result, facts, options.needs));
  else if (Object.keys(options.needs).length) {
    const advice = result.status === "invalid" ? "Scan the soil again, or send it" : "Send this soil";
    item.append(element("p", { class: "decision" }, `${advice} to the laboratory.`));
  }
  item.append(drawing(scan, facts, quantiles, options.isOpen));
  return item;
}

/* Why a scan is outside, in words. */
function whyOutside({ values, result }, facts, quantiles) {
  const reasons = [
    ["T2", "Its distance from the average training soil"],
    ["Q", "The difference of its shape from the shapes of the training soils"],
  ].filter(([name]) => result[name] > facts.limits[name])
    .map(([name, words]) => `${words} is ${aboveLimit(result[name] / facts.limits[name])}.`);
  const ranges = rangesBeyond(values, quantiles);
  reasons.push(ranges.length
    ? `It leaves the middle 90 % of the training scans at ${rangesText(ranges, facts.wavelengths_nm)}.`
    : "Its level is usual at all wavelengths; the difference is in the shape of the curve.");
  const share = Math.round(100 * facts.share_within);
  return [
    element("p", {}, `The model was not trained on soils like this one, so its values are not reliable. About ${share} % of ` +
      "the training soils are within the limit."),
    element("ul", {}, ...reasons.map(reason => element("li", {}, reason))),
  ];
}

/* A ratio above 1 in words. */
function aboveLimit(ratio) {
  if (ratio >= 2) return `${general(ratio, 2)} times the limit`;
  return ratio < 1.01 ? "just above the limit" : `${Math.round(100 * (ratio - 1))} % above the limit`;
}

/* Three significant digits; zeros at the end stay, so that 11.0 looks as precise as 10.9. */
function shown(value) {
  return Math.abs(value) >= 1000 || value === 0 ? String(Math.round(value)) : value.toPrecision(3);
}

function valueTable(result, facts, needs) {
  const hasNeeds = Object.keys(needs).length > 0;
  const coverage = Object.values(facts.targets).map(target => target.interval && target.interval.coverage).find(Boolean);
  const interval = coverage ? `${Math.round(100 * coverage)} % interval` : "interval";
  const names = ["property", "value", interval, ...hasNeeds ? ["decision"] : []];
  const rows = Object.entries(facts.targets).map(([name, target]) => {
    const ends = result.intervals[name];
    const label = element("th", { scope: "row" }, target.label);
    if (target.unit) label.append(" ", element("span", { class: "unit" }, target.unit));
    const cells = [
      element("td", { class: "value" }, shown(result.values[name])),
      element("td", {}, ends ? `${shown(ends[0])} to ${shown(ends[1])}` : "none"),
    ];
    if (hasNeeds) {
      const decision = name in needs ? decisionOf(facts, result, name, needs[name]) : "";
      cells.push(element("td", { class: "decision" }, decision));
    }
    return element("tr", {}, label, ...cells);
  });
  return element("table", {},
    element("thead", {}, element("tr", {}, ...names.map(name => element("th", { scope: "col" }, name)))),
    element("tbody", {}, ...rows));
}

/* The picture, drawn when it is opened. */
function drawing({ id, values }, facts, quantiles, isOpen) {
  const details = element("details", {}, element("summary", { "aria-label": `Curve of ${id}` }, "Curve"));
  const draw = () => {
    if (!details.open || details.children.length > 1) return;
    details.append(picture(values, facts, quantiles), pictureKey(rangesBeyond(values, quantiles).length > 0));
  };
  details.addEventListener("toggle", draw);
  details.open = isOpen;
  draw();
  return details;
}

/* All results as CSV; values of outside scans are empty unless they are shown. */
function resultsCsv(scans, facts, { needs, showOutside }) {
  const names = Object.keys(facts.targets);
  const head = ["file", "id", "status", "reason"];
  for (const name of names) {
    head.push(name, `${name}_low`, `${name}_high`, ...name in needs ? [`${name}_decision`] : []);
  }
  const rows = scans.map(({ file, id, result }) => {
    const cells = [file, id, result.status, result.reason].map(asText);
    const isShown = result.status === "ok" || (result.status === "outside" && showOutside);
    for (const name of names) {
      const ends = isShown && result.intervals[name];
      cells.push(isShown ? general(result.values[name], 7) : "", ...ends ? ends.map(end => general(end, 7)) : ["", ""]);
      if (name in needs) cells.push(decisionOf(facts, result, name, needs[name]));
    }
    return [...cells, ...["T2", "Q"].map(name => result[name] === null ? "" : general(result[name], 7))];
  });
  return [[...head, "T2", "Q"], ...rows].map(row => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

/* Text in one line, with an apostrophe if a spreadsheet would read it as a formula. */
function asText(text) {
  const line = text.replace(/[\s\p{C}]+/gu, " ").trim();
  return /^[=+\-@]/.test(line) && Number.isNaN(numberOf(line)) ? `'${line}` : line;
}

const quoted = cell => /[",]/.test(cell) ? `"${cell.replace(/"/g, "\"\"")}"` : cell;
