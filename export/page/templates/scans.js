/* Reads tables of scans: the rules of soil_scan.py, and files of NeoSpectra and NIRscan besides.

   readScans(text, facts) -> { scans: [{ id, values }], notes, error }; the error, a sentence or "", ended the reading.
   `values` is a Float32Array at the wavelengths of the model. */

class ScanError extends Error {}

function readScans(text, facts) {
  const result = { scans: [], notes: [], error: "" };
  try {
    const table = tableOf(text.replace(/^\ufeff/, ""), facts, note => result.notes.push(note));
    addScans(table, facts, result);
  } catch (error) {
    if (!(error instanceof ScanError)) throw error;
    result.error = error.message;
  }
  return result;
}

/* The separator of a line; its commas may be decimal commas, of which there is at most one per cell. */
function separatorOf(line) {
  const count = character => line.split(character).length - 1;
  const other = count("\t") > count(";") ? "\t" : ";";
  return count(other) > 0 && count(other) >= count(",") - 1 ? other : ",";
}

/* Cells of all rows that are not blank; a quoted cell may hold separators, line breaks and doubled quotes. */
function cellsOf(text) {
  const firstLine = text.split(/\r\n|\r|\n/).find(line => line.trim()) || "";
  const separator = separatorOf(firstLine);
  const rows = [];
  let row = [], cell = "", isQuoted = false;
  const endRow = () => {
    row.push(cell);
    if (row.some(other => other.trim())) rows.push(row);
    row = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (isQuoted) {
      if (character !== "\"") cell += character;
      else if (text[at + 1] === "\"") cell += text[at++];
      else isQuoted = false;
    } else if (character === "\"" && cell === "") isQuoted = true;
    else if (character === separator) {
      row.push(cell);
      cell = "";
    } else if (character === "\n" || character === "\r") endRow();
    else cell += character;
  }
  endRow();
  return rows;
}

/* The table { nm, rows: [{ id, cells, length }], expected, notes }; nm is null for values at the model's wavelengths. */
function tableOf(text, facts, note) {
  const rows = cellsOf(text);
  if (!rows.length) throw new ScanError("the table is empty; give a scan per row");
  const inRows = rows.findIndex(row => /^wavelengths?\b/i.test(row[0].trim()) && row.length > 1 && !bandsOf(row).length);
  if (inRows >= 0) return bandsInRows(rows[inRows], rows.slice(inRows + 1), facts, note);
  const [head, ...body] = rows;
  const bands = bandsOf(head).filter(band => band.nm >= facts.check.shortest_nm).sort((a, b) => a.nm - b.nm);
  if (!bands.length) {
    const expected = facts.wavelengths_nm.length;
    note(`the first row names no wavelengths, so each row is read as the ${expected} values of the model`);
    return { nm: null, rows: rows.map(row => ({ id: "", cells: row, length: row.length })), expected };
  }
  const names = head.map(cell => cell.trim().toLowerCase());
  const idNames = [facts.id_column.toLowerCase(), "id", "sample name"].filter(name => name);
  const idAt = idNames.map(name => names.indexOf(name)).find(at => at >= 0) ?? -1;
  let scans = body.map(row => ({
    id: idAt < 0 ? "" : (row[idAt] || "").trim(),
    cells: bands.map(band => row[band.at]),
    length: row.length,
  }));
  let nm = bands.map(band => band.nm);
  if (names.includes("sample name") && nm[0] > LONGEST_NM) {
    nm = nm.map(perCm => 1e7 / perCm).reverse();
    scans = scans.map(scan => ({ ...scan, cells: convertedCells(scan.cells.reverse(), 0.01, "reflectance", facts) }));
    const unit = facts.quantity === "absorbance" ? "absorbance" : "reflectance from 0 to 1";
    note(`NeoSpectra file: wavenumbers became nm, and reflectance in percent became ${unit}`);
  }
  return { nm, rows: scans, expected: head.length };
}

const LONGEST_NM = 2600; // larger numbers in the names of bands are wavenumbers

/* Bands in the names of columns: 1100, X1100, band1100, 1100.5nm, spc.400. */
function bandsOf(head) {
  return head.flatMap((name, at) => {
    const match = /^(?:x|nm|band|spc\.?)?(\d+(?:[.,]\d+)?)(?:\s*nm)?$/.exec(name.trim().toLowerCase());
    return match ? [{ at, nm: Number(match[1].replace(",", ".")) }] : [];
  });
}

/* A table with a wavelength in each row: a column per scan, or the columns of a NIRscan file. */
function bandsInRows(head, body, facts, note) {
  const end = body.findIndex(row => Number.isNaN(numberOf(row[0])));
  const rows = (end < 0 ? body : body.slice(0, end)).map(row => ({ nm: numberOf(row[0]), row }));
  if (!rows.length) throw new ScanError("the table has no row of numbers below \"Wavelength\"; give a scan");
  rows.sort((a, b) => a.nm - b.nm);
  const column = at => rows.map(({ row }) => row[at] ?? "");
  const names = head.map(cell => cell.trim());
  const at = word => names.findIndex(name => name.toLowerCase().startsWith(word));
  const nm = rows.map(row => row.nm);
  const scan = (id, cells) => ({ id, cells, length: 0 });
  let scans = names.map((name, position) => scan(name, column(position))).slice(1).filter(({ id }) => id);
  if (at("absorbance (au)") > 0) {
    scans = [scan("", convertedCells(column(at("absorbance (au)")), 1, "absorbance", facts))];
    if (facts.quantity === "reflectance") note("NIRscan file: absorbance became reflectance");
  }
  return { nm, rows: scans, expected: 0 };
}

/* Cells times a factor, in the quantity of the model; cells that are no numbers stay. */
function convertedCells(cells, factor, quantity, facts) {
  const convert = { absorbance: value => -Math.log10(value), reflectance: value => 10 ** -value }[facts.quantity];
  return cells.map(cell => {
    const value = factor * numberOf(cell);
    if (Number.isNaN(value)) return cell;
    return String(quantity === facts.quantity ? value : convert(value));
  });
}

function addScans({ nm, rows, expected }, facts, result) {
  const modelNm = facts.wavelengths_nm;
  if (nm) {
    checkBands(nm, facts);
    result.notes.push(...bandNotes(nm, modelNm));
  }
  const isSame = !nm || sameBands(nm, modelNm);
  const needed = nm ? expected : modelNm.length;
  rows.forEach(({ id, cells, length }, index) => {
    if (length !== needed) {
      throw new ScanError(`row ${index + 1}: expected ${needed} cells, received ${length}; complete the row`);
    }
    const numbers = Float32Array.from(cells, numberOf);
    const values = isSame ? numbers : Float32Array.from(modelNm, at => interpolated(at, nm, numbers));
    result.scans.push({ id: id || `row${index + 1}`, values });
  });
}

/* The number in a cell; NaN if it is not a number. */
function numberOf(cell) {
  const text = (cell || "").trim().replace(",", ".");
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
}

/* Linear interpolation; beyond the ends, the end value is held. */
function interpolated(at, nm, values) {
  const last = nm.length - 1;
  if (at <= nm[0]) return values[0];
  if (at >= nm[last]) return values[last];
  const after = firstNotBelow(nm, at);
  if (nm[after] === at) return values[after];
  const slope = (values[after] - values[after - 1]) / (nm[after] - nm[after - 1]);
  return slope * (at - nm[after - 1]) + values[after - 1];
}

/* Index of the first of ascending numbers that is at least a number; their count if there is none. */
function firstNotBelow(numbers, number) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

function checkBands(named, facts) {
  const { wavelengths_nm: nm, end_tolerance_nm: tolerance, gap_nm: gap, check } = facts;
  const twice = named.findIndex((value, at) => at && value === named[at - 1]);
  if (twice >= 0) throw new ScanError(`two columns have the wavelength ${nmText(named[twice])} nm; remove either`);
  const [first, last] = [nm[0], nm[nm.length - 1]];
  const [namedFirst, namedLast] = [named[0], named[named.length - 1]];
  const missed = [[namedFirst - first, first, tolerance[0]], [last - namedLast, last, tolerance[1]]]
    .filter(([distance, , limit]) => distance > limit + check.same_nm)
    .map(([distance, end, limit]) => `${nmText(end)} nm by ${nmText(distance)} nm, more than ${nmText(limit)} nm`);
  if (missed.length) {
    throw new ScanError(`bands ${nmText(namedFirst)}..${nmText(namedLast)} nm do not cover the model's ` +
      `${nmText(first)}..${nmText(last)} nm: they miss ${missed.join(" and ")}; scan that range`);
  }
  const gaps = nm.flatMap((value, at) => {
    if (value < namedFirst || value > namedLast) return [];
    const after = Math.min(Math.max(firstNotBelow(named, value), 1), named.length - 1);
    const distance = Math.min(...named.slice(Math.max(after - 1, 0), after + 1).map(other => Math.abs(value - other)));
    return distance > gap[at] + check.same_nm ? [at] : [];
  });
  if (gaps.length) {
    throw new ScanError(`no band within ${general(gap[gaps[0]], 3)} nm of ${nmText(nm[gaps[0]])} nm, which the model ` +
      `reads (${gaps.length} such wavelengths): complete the scans`);
  }
}

function bandNotes(named, nm) {
  if (sameBands(named, nm)) return [];
  const notes = [];
  const [first, last] = [nm[0], nm[nm.length - 1]];
  const low = named[0] - first, high = last - named[named.length - 1];
  if (low > 1e-6) {
    notes.push(`the bands start ${general(low, 3)} nm above ${nmText(first)} nm, the first wavelength of the model: ` +
      "their first value is held");
  }
  if (high > 1e-6) {
    notes.push(`the bands stop ${general(high, 3)} nm below ${nmText(last)} nm, the last wavelength of the model: ` +
      "their last value is held");
  }
  return [...notes, `interpolated from ${named.length} bands to the model's ${nm.length}`];
}

const sameBands = (named, nm) => named.length === nm.length && named.every((at, index) => Math.abs(at - nm[index]) <= 1e-6);

const nmText = nm => String(Number(nm.toFixed(4)));
