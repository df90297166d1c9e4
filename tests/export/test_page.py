"""The page in a headless browser, from file:// and without a network, gives what soil_scan.py gives."""

import csv
import html
import json
import subprocess
import sys
import time

import hand_made
import numpy as np
import pytest
from bundle_fixtures import IGNORE_WARNINGS
from chromium import Chromium, needs_chromium
from graph_cases import CHANNELS, STEPS, case_file, constant, functions

from export.graph.interpreter import run
from export.graph.operator_list import LSTM
from export.graph.reading import read
from export.page.generator import page, stored_model, template
from export.page.model_data import as_data
from export.runtime.soil_scan import SoilScan, needs_of

pytestmark = [needs_chromium, *IGNORE_WARNINGS]

EVIL = '<img src=x onerror="document.title=1">'
DATA_HASH, MODEL_HASH = "d" * 64, "e" * 64


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Chromium(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle made by hand, with its page."""
    folder = tmp_path_factory.mktemp("bundle")
    child = [sys.executable, hand_made.__file__, folder]
    subprocess.run(child, check=True, capture_output=True, timeout=300)
    facts = {
        "id_column": "",
        "simulated": True,
        "soils": {"train": 50},
        "data_sha256": DATA_HASH,
        "model": {"preset": "made by hand"},
        "versions": {"training": {"relple_tf": "0"}},
    }
    model = read((folder / "float32.tflite").read_bytes())
    text = page(model, {**hand_made.card(), **facts}, MODEL_HASH, hand_made.soils(50))
    (folder / "soil_scan.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def opened(browser, folder):
    """The page, without scans; at the end, the page has asked for no other file and has raised no error."""
    browser.requests.clear()
    browser.errors.clear()
    browser.open(folder / "soil_scan.html")
    yield browser
    assert browser.requests == [(folder / "soil_scan.html").as_uri()]
    assert browser.errors == []


def given(browser, *files):
    """Choose files, and wait for the results."""
    browser.choose("#files", *files)
    until(browser, "document.getElementById('files').value === ''")


def until(browser, condition):
    deadline = time.monotonic() + 30
    while not browser.run(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def table(path, scans, ids):
    nm = ",".join(f"{value:g}" for value in hand_made.NM)
    quoted = ['"' + identity.replace('"', '""') + '"' for identity in ids]
    rows = [",".join([identity, *map(str, scan)]) for identity, scan in zip(quoted, scans, strict=True)]
    path.write_text("\n".join([f"id,{nm}", *rows, ""]), encoding="utf-8")
    return path


def text(browser, selector):
    return browser.apply("selector => document.querySelector(selector).innerText", selector)


def kinds():
    """Name -> a scan: soils, a scan far from them, and scans that cannot be those of a soil."""
    soils = hand_made.soils(6)
    scans = {f"soil {number}": scan for number, scan in enumerate(soils)}
    scans["far"] = np.clip(soils[0] + 0.7, 0, 1.4).astype("float32")
    scans |= {"percent": 100 * soils[0], "constant": np.full_like(soils[0], 0.4), "dark": 0 * soils[0]}
    scans["not a number"] = np.where(np.arange(hand_made.BANDS) == 5, np.nan, soils[0])
    scans["no Q"] = np.where(np.arange(hand_made.BANDS) == 0, 0.05, soils[0]).astype("float32")
    scans["too high"] = np.where(np.arange(hand_made.BANDS) == 7, 1.6, soils[0]).astype("float32")
    return scans


@pytest.fixture(scope="module")
def operators(browser):
    """Case -> output of JavaScript, and output of NumPy."""
    content, name_of = case_file()
    model, x = read(content), constant(STEPS, CHANNELS, seed=9)
    browser.open_blank()
    browser.run(template("interpreter.js"))
    received = browser.apply(
        "(data, x) => Object.fromEntries(Object.entries(computeModel(openModel(data), x))"
        ".map(([name, values]) => [name, Array.from(values, value => Number.isNaN(value) ? null : value)]))",
        as_data(model),
        x.ravel().tolist(),
    )
    expected = run(model, {"x": x})
    return {name: (np.array(received[output], "float32"), expected[output]) for output, name in name_of.items()}


@pytest.mark.parametrize("name", [*functions(), LSTM])
def test_javascript_gives_the_output_of_numpy(operators, name):
    received, expected = operators[name]
    np.testing.assert_allclose(received, expected.ravel(), rtol=1e-5, atol=2e-6)


def test_the_page_gives_the_estimates_of_soil_scan_py(opened, folder, tmp_path):
    device, scans = SoilScan(folder), kinds()
    given(opened, table(tmp_path / "scans.csv", scans.values(), scans))
    received = opened.run("scans.map(({ id, result }) => [id, result])")
    assert [identity for identity, _ in received] == list(scans)
    needs = needs_of("OC_g_kg=1.2", device.targets)
    decisions = set()
    for identity, result in received:
        expected = device.estimate(scans[identity])
        facts = expected.as_dict()
        assert (result["status"], result["reason"]) == (facts["status"], facts["reason"])
        for name in ("T2", "Q"):
            assert result[name] == (None if facts[name] is None else pytest.approx(facts[name], rel=1e-5))
        if expected.values is None:
            assert result["values"] is result["intervals"] is None
        else:
            assert result["values"] == pytest.approx(expected.values, rel=1e-5)
            assert result["intervals"]["OC_g_kg"] == pytest.approx(expected.intervals["OC_g_kg"], rel=1e-5)
            assert result["intervals"]["pH"] is None
        decision = opened.apply("(result, need) => decisionOf(FACTS, result, 'OC_g_kg', need)", result, 1.2)
        assert {"OC_g_kg": decision} == device.decisions(expected, needs)
        decisions.add(decision)
    assert {result["status"] for _, result in received} == {"ok", "outside", "invalid"}
    assert decisions == {"keep", "send"}


def test_an_outside_scan_shows_values_only_if_the_user_asks(opened, tmp_path):
    far = {"far": kinds()["far"]}
    given(opened, table(tmp_path / "scans.csv", far.values(), far))
    assert text(opened, "#status") == "1 scan: 1 outside."
    assert opened.run("document.querySelector('#results table')") is None
    assert "so its values are not reliable" in text(opened, "#results")
    assert "above the limit" in text(opened, "#results ul")
    head, row = download(opened)
    assert dict(zip(head, row, strict=True))["OC_g_kg"] == ""
    opened.run("document.getElementById('show-outside').click()")
    assert "OC" in text(opened, "#results table")
    head, row = download(opened)
    assert float(dict(zip(head, row, strict=True))["OC_g_kg"]) > 0


def download(browser):
    return list(csv.reader(browser.run("resultsCsv(scans, FACTS, options())").splitlines()))


def test_needs_decide_and_a_wrong_need_is_named(opened, tmp_path):
    scans = {name: scan for name, scan in kinds().items() if name in ("soil 0", "constant")}
    given(opened, table(tmp_path / "scans.csv", scans.values(), scans))
    assert opened.run("document.getElementById('need-pH')") is None  # pH has no interval
    enter = (
        "words => { const input = document.getElementById('need-OC_g_kg'); input.value = words; "
        "input.dispatchEvent(new Event('input')); }"
    )
    for words, expected in (("100,5", ["keep", "send"]), ("0.001", ["send", "send"])):
        opened.apply(enter, words)
        head, *rows = download(opened)
        assert [row[head.index("OC_g_kg_decision")] for row in rows] == expected
    for words in ("x", "-1", "0", "1e999"):
        opened.apply(enter, words)
        assert text(opened, "#error-OC_g_kg") == "Give a number above 0."
        assert "OC_g_kg_decision" not in download(opened)[0]


def test_names_and_cells_are_text_and_never_html_or_a_formula(opened, tmp_path):
    file = table(
        tmp_path / f"{EVIL.replace('/', '')}.csv", kinds().values(), [EVIL, "=1+1", "-3", *map(str, range(10))]
    )
    given(opened, file)
    assert EVIL in text(opened, "#results h3")
    opened.run(f"later(() => addTable({json.dumps(f'id,{EVIL},1000')}, {json.dumps(EVIL)})).then(showResults)")
    assert EVIL in text(opened, "#problems")
    assert opened.run("document.querySelectorAll('img').length") == 0
    assert [row[1] for row in download(opened)[1:4]] == [EVIL, "'=1+1", "-3"]


def test_a_wrong_table_is_a_message_and_keeps_the_other_scans(opened, tmp_path):
    scans = {"soil": kinds()["soil 0"]}
    (tmp_path / "wrong.csv").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "short.csv").write_text("id,1000,1100\na,1,2\n")
    names = [tmp_path / f"{name}.csv" for name in ("wrong", "empty", "short")]
    given(opened, *names, table(tmp_path / "right.csv", scans.values(), scans))
    problems = text(opened, "#problems").splitlines()
    assert [line.partition(":")[0] for line in problems if line] == ["wrong.csv", "empty.csv", "short.csv"]
    assert text(opened, "#status") == "1 scan: 1 ok."


def test_a_table_is_pasted_with_the_keyboard_alone(opened):
    scan = kinds()["soil 0"]
    opened.run("document.querySelector('summary').focus()")
    opened.press("Enter", "\r")
    opened.press("Tab")
    assert opened.run("document.activeElement.id") == "pasted"
    opened.call("Input.insertText", text="\t".join(str(value).replace(".", ",") for value in scan))
    opened.press("Tab")
    opened.press("Enter", "\r")
    until(opened, "scans.length === 1 && document.getElementById('results').children.length === 1")
    assert text(opened, "#status") == "1 scan: 1 ok."


def test_a_file_is_dropped(opened, tmp_path):
    scans = {"soil": kinds()["soil 0"]}
    file = table(tmp_path / "dropped.csv", scans.values(), scans)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        opened.call("Input.dispatchDragEvent", type=kind, x=100, y=200, data=data)
    until(opened, "document.getElementById('results').children.length === 1")
    assert text(opened, "#results h3") == "soil (dropped.csv)"
    assert text(opened, "#status") == "1 scan: 1 ok."


def test_the_results_are_downloaded(opened, tmp_path):
    scans = kinds()
    given(opened, table(tmp_path / "scans.csv", scans.values(), scans))
    opened.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    opened.run("document.getElementById('download').click()")
    deadline = time.monotonic() + 30
    while not (file := tmp_path / "soil_values.csv").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["id"] for row in rows] == list(scans)
    statuses = opened.run("scans.map(({ result }) => result.status)")
    assert [row["status"] for row in rows] == statuses
    assert [bool(row["pH"]) for row in rows] == [status == "ok" for status in statuses]
    opened.requests[:] = [address for address in opened.requests if not address.startswith("blob:")]


def test_a_screen_reader_finds_names_for_everything(opened, tmp_path):
    scans = kinds()
    given(opened, table(tmp_path / "scans.csv", scans.values(), scans))
    opened.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    until(opened, "document.querySelectorAll('#results li svg[role=img]').length === scans.length")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = [
        (node.get("role", {}).get("value"), node.get("name", {}).get("value")) for node in nodes if not node["ignored"]
    ]
    for role in ("button", "textbox", "checkbox", "image", "heading", "status", "alert", "table", "columnheader"):
        assert role in {found for found, _ in roles}
    named = ("button", "textbox", "checkbox", "image", "heading", "columnheader", "DisclosureTriangle")
    assert [role for role, name in roles if role in named and not name] == []


def test_a_scan_is_drawn_over_the_quantiles(opened, tmp_path):
    scans = {name: kinds()[name] for name in ("soil 0", "not a number", "far")}
    given(opened, table(tmp_path / "scans.csv", scans.values(), scans))
    opened.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    until(opened, "document.querySelectorAll('#results li svg[role=img]').length === 3")
    lines = "name => [...document.querySelectorAll('svg[role=img]')].map(svg => svg.querySelectorAll(name).length)"
    assert opened.apply(lines, ".library") == opened.apply(lines, ".median") == [1, 1, 1]
    assert opened.apply(lines, ".scan") == [1, 2, 1]  # the band that is not a number interrupts the line
    assert opened.apply(lines, ".beyond")[2] > 0
    assert "NaN" not in opened.run("document.getElementById('results').innerHTML")


def test_the_policy_stops_code_and_requests_that_are_not_of_the_page(browser, folder):
    browser.open(folder / "soil_scan.html")
    browser.requests.clear()
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }));"
        "document.body.append(Object.assign(document.createElement('img'), { src: 'x.png' }));"
        "fetch('data:,x').then(() => { window.ran = 2; }, () => { window.stopped = 1; })"
    )
    assert browser.run("[window.ran ?? 0, window.stopped]") == [0, 1]


def test_the_page_names_its_model_and_data_and_holds_no_address(folder):
    content = (folder / "soil_scan.html").read_text(encoding="utf-8")
    assert f"<dd>{MODEL_HASH}</dd>" in content
    assert f"<dd>{DATA_HASH}</dd>" in content
    assert "simulated spectra" in content
    assert "://" not in content.replace("http://www.w3.org/2000/svg", "")
    assert html.unescape(content).count("</script>") == 2


def test_the_page_adds_little_to_the_weights(folder):
    content = (folder / "soil_scan.html").read_text(encoding="utf-8")
    weights = as_data(stored_model(content))["weights"]
    assert weights in content
    assert len(content.encode()) - len(weights) < 70_000
