/* The user interface: reads scans from files and text, computes them, shows the results. */

const LARGEST_FILE_BYTES = 50e6;
const MOST_SHOWN = 200; // more results would slow the page down; the CSV holds all
const MOST_DRAWN = 10; // the curves of the first scan and of outside scans are open among these only
const SCANS_PER_STEP = 10; // between steps, the page answers to the user

const { facts: FACTS, quantiles: LIBRARY, model: MODEL_DATA } = JSON.parse(document.getElementById("data").textContent);
const MODEL = openModel(MODEL_DATA);
const byId = id => document.getElementById(id);
let scans = [];
let pending = Promise.resolve(); // files are read one after the other

function later(task) {
  pending = pending.then(task).catch(error => problem(`The page failed: ${error.message}`));
  return pending;
}

function problem(text) {
  byId("problems").append(element("p", {}, text));
}

function note(text) {
  byId("notes").append(element("li", {}, text));
}

function forget() {
  byId("problems").replaceChildren();
  byId("notes").replaceChildren();
}

async function readFiles(files) {
  for (const file of files) {
    if (file.size > LARGEST_FILE_BYTES) problem(`${file.name}: is larger than 50 MB; give a smaller table.`);
    else await addTable(await file.text(), file.name);
  }
  if (files.length) showResults();
}

/* Reads a table and computes its scans; a fault is shown, and the scans before it stay. */
async function addTable(text, file) {
  const start = file ? `${file}: ` : "";
  const read = readScans(text, FACTS);
  read.notes.forEach(words => note(start + words));
  if (read.error) problem(`${start}${read.error}.`);
  for (let at = 0; at < read.scans.length; at++) {
    if (at % SCANS_PER_STEP === 0) {
      byId("status").textContent = `Computing scan ${at + 1} of ${read.scans.length} ...`;
      await new Promise(resolve => setTimeout(resolve));
    }
    const { id, values } = read.scans[at];
    scans.push({ file: file || "", id, values, result: estimate(FACTS, MODEL, values) });
  }
}

/* Target -> need, of the fields with a number above 0; marks the other fields that are not empty. */
function needs() {
  const given = {};
  for (const name of Object.keys(FACTS.targets)) {
    const input = byId(`need-${name}`);
    if (!input) continue;
    const need = numberOf(input.value);
    const isWrong = input.value.trim() !== "" && !(need > 0 && Number.isFinite(need));
    input.setAttribute("aria-invalid", String(isWrong));
    byId(`error-${name}`).textContent = isWrong ? "Give a number above 0." : "";
    if (need > 0 && Number.isFinite(need)) given[name] = need;
  }
  return given;
}

const options = () => ({ needs: needs(), showOutside: byId("show-outside").checked });

function showResults() {
  const chosen = options();
  const items = scans.slice(0, MOST_SHOWN).map((scan, at) => {
    const isOpen = at === 0 || (at < MOST_DRAWN && scan.result.status === "outside");
    return resultItem(scan, FACTS, LIBRARY, { ...chosen, isOpen });
  });
  byId("results").replaceChildren(...items);
  byId("tools").hidden = !scans.length;
  byId("status").textContent = summary();
}

function summary() {
  if (!scans.length) return "No scans yet.";
  const counts = ["ok", "outside", "invalid"].map(status => [scans.filter(({ result }) => result.status === status).length, status]);
  const words = counts.filter(([count]) => count).map(([count, status]) => `${count} ${status}`).join(", ");
  const shown = scans.length > MOST_SHOWN ? ` The first ${MOST_SHOWN} are shown; the CSV holds all.` : "";
  return `${scans.length} ${scans.length === 1 ? "scan" : "scans"}: ${words}.${shown}`;
}

function download() {
  const url = URL.createObjectURL(new Blob(["\ufeff", resultsCsv(scans, FACTS, options())], { type: "text/csv" }));
  element("a", { href: url, download: "soil_values.csv" }).click();
  // The browser has read the blob by then.
  setTimeout(() => URL.revokeObjectURL(url), 60e3);
}

function addNeeds() {
  for (const [name, target] of Object.entries(FACTS.targets)) {
    if (!target.interval || target.interval.half_width === null) continue;
    const words = `${target.label}, ± ${target.unit}`.trim();
    const input = element("input", { type: "text", inputmode: "decimal", id: `need-${name}`, autocomplete: "off",
      "aria-describedby": `error-${name}` });
    input.addEventListener("input", showResults);
    byId("needs").append(element("div", {}, element("label", { for: `need-${name}` }, words), input,
      element("div", { class: "error", id: `error-${name}`, "aria-live": "polite" })));
  }
  if (!byId("needs").children.length) byId("needs").append("This model has no intervals, so it cannot decide.");
}

function listen() {
  byId("files").addEventListener("change", event => {
    forget();
    const files = [...event.target.files];
    later(() => readFiles(files)).then(() => { event.target.value = ""; });
  });
  byId("read-pasted").addEventListener("click", () => {
    forget();
    later(() => addTable(byId("pasted").value, "")).then(showResults);
  });
  byId("show-outside").addEventListener("change", showResults);
  byId("download").addEventListener("click", download);
  byId("clear").addEventListener("click", () => {
    scans = [];
    forget();
    showResults();
    byId("files").focus();
  });
  const drop = byId("drop");
  const isDragged = is => drop.classList.toggle("dragged", is);
  // Without these, the browser would leave the page and open a file that misses the target.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, event => event.preventDefault());
  document.addEventListener("dragover", () => isDragged(true));
  document.addEventListener("dragleave", event => { if (!event.relatedTarget) isDragged(false); });
  document.addEventListener("drop", event => {
    isDragged(false);
    forget();
    const files = [...event.dataTransfer.files];
    const text = event.dataTransfer.getData("text/plain");
    later(() => readFiles(files));
    if (!files.length && text) later(() => addTable(text, "")).then(showResults);
  });
}

addNeeds();
listen();
