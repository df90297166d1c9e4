/* Draws a scan over the quantiles of the training scans, as SVG. */

const WIDTH = 640, HEIGHT = 300, LEFT = 70, RIGHT = 12, TOP = 14, BOTTOM = 52;

/* An element with attributes; its children are elements, or text that is never read as HTML. */
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  return filled(node, attributes, children);
}

function svgElement(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* Ranges [first, last] of bands in which a scan lies below the 5 % or above the 95 % quantile. */
function rangesBeyond(values, [low, , high]) {
  const ranges = [];
  values.forEach((value, band) => {
    if (!(value < low[band] || value > high[band])) return;
    const latest = ranges[ranges.length - 1];
    if (latest && latest[1] === band - 1) latest[1] = band;
    else ranges.push([band, band]);
  });
  return ranges;
}

/* Round numbers that divide a range into 2 to 6 parts. */
function ticks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find(factor => factor * power >= rough);
  const numbers = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) numbers.push(Number((at * step).toPrecision(6)));
  return numbers;
}

function picture(values, facts, quantiles) {
  const nm = facts.wavelengths_nm;
  const numbers = [...quantiles[0], ...quantiles[2], ...values].filter(Number.isFinite);
  const lowest = numbers.reduce((a, b) => Math.min(a, b)), highest = numbers.reduce((a, b) => Math.max(a, b));
  const [low, high] = highest > lowest ? [lowest, highest] : [lowest - 1, highest + 1];
  const [first, last] = [nm[0], nm[nm.length - 1]];
  const x = at => LEFT + (WIDTH - LEFT - RIGHT) * (at - first) / (last - first);
  const y = value => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
  const point = (value, band) => `${x(nm[band]).toFixed(1)},${y(value).toFixed(1)}`;
  // A band that is not a number interrupts the line.
  const line = (row, start = 0) => Array.from(row, (value, at) =>
    Number.isFinite(value) ? point(value, start + at) : " ").join(" ").trim().split(/\s{2,}/);
  const lines = (row, className, start) => line(row, start).filter(points => points)
    .map(points => svgElement("polyline", { points, class: className }));

  const area = [...quantiles[0].map(point), ...quantiles[2].map(point).reverse()].join(" ");
  const ranges = rangesBeyond(values, quantiles);
  const svg = svgElement("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": pictureText(ranges, nm) });
  for (const value of ticks(low, high)) {
    svg.append(
      svgElement("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "grid" }),
      svgElement("text", { x: LEFT - 8, y: y(value) + 6, "text-anchor": "end" }, String(value)));
  }
  svg.append(svgElement("polygon", { points: area, class: "library" }), ...lines(quantiles[1], "median"),
    ...lines(values, "scan"));
  for (const [start, end] of ranges) {
    svg.append(...lines(values.slice(Math.max(start - 1, 0), end + 2), "beyond", Math.max(start - 1, 0)));
  }
  svg.append(svgElement("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, class: "axis" }));
  for (const value of ticks(first, last)) {
    svg.append(svgElement("text", { x: x(value), y: HEIGHT - BOTTOM + 24, "text-anchor": "middle" }, String(value)));
  }
  svg.append(svgElement("text", { x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, `${facts.quantity} by wavelength in nm`));
  return svg;
}

function pictureText(ranges, nm) {
  const where = ranges.length ? `outside the usual range at ${rangesText(ranges, nm)}` : "within the usual range";
  return `The scan over the training scans: ${where}.`;
}

/* The widest ranges in words, at most three. */
function rangesText(ranges, nm) {
  const width = ([start, end]) => nm[end] - nm[start];
  const widest = [...ranges].sort((a, b) => width(b) - width(a)).slice(0, 3).sort((a, b) => a[0] - b[0]);
  const words = widest.map(([start, end]) => start === end
    ? `${general(nm[start], 4)} nm` : `${general(nm[start], 4)} to ${general(nm[end], 4)} nm`);
  return words.join(", ") + (ranges.length > 3 ? " and elsewhere" : "");
}

/* The key of the picture. */
function pictureKey(hasBeyond) {
  const sample = (...shapes) => svgElement("svg", { viewBox: "0 0 40 16", "aria-hidden": "true" }, ...shapes);
  const stroke = name => svgElement("polyline", { points: "0,8 40,8", class: name });
  const entries = [
    [sample(stroke("scan")), "this scan"],
    ...hasBeyond ? [[sample(stroke("beyond")), "this scan, outside the middle 90 %"]] : [],
    [sample(svgElement("rect", { width: 40, height: 16, class: "library" })), "middle 90 % of the training scans"],
    [sample(stroke("median")), "their median"],
  ];
  return element("div", { class: "key" }, ...entries.map(([shape, words]) => element("span", {}, shape, ` ${words}`)));
}
