"""soil_scan.py: its predictions, its refusals, and its independence of all other packages."""

import contextlib
import functools
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import hand_made
import numpy as np
import pytest

from export.runtime import soil_scan
from export.runtime.soil_scan import SoilScan, SoilScanError
from relple_tf.errors import InputError
from relple_tf.evaluation import keep_or_send
from relple_tf.models.domain import Limits
from relple_tf.prediction import bundles as bundled
from relple_tf.prediction.runs import to_model_input
from relple_tf.prediction.saved import load
from relple_tf.runs import card_schema as cards
from relple_tf.spectra import library, range_ends
from relple_tf.training.intervals import Interval

SCRIPT = Path(soil_scan.__file__)
ALONE = f"""
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras", "relple_tf", "export", "pandas", "scipy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv[0] = {str(SCRIPT)!r}
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
"""Runs soil_scan.py without TensorFlow and without the packages of this repository."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle made by hand, and the output of TensorFlow for its soils."""
    folder = tmp_path_factory.mktemp("bundle")
    child = subprocess.run(
        [sys.executable, hand_made.__file__, folder], check=True, capture_output=True, text=True, timeout=300
    )
    return folder, json.loads(child.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def device(made):
    return SoilScan(made[0])


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the bundle for a single test."""
    for file in made[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def command(*arguments, text=""):
    """Run the script alone; return exit code, stdout and stderr."""
    child = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        cwd="/",
        env={},
        timeout=60,
        check=False,
    )
    return child.returncode, child.stdout, child.stderr


def csv_of(scans, ids=(), nm=hand_made.NM, separator=","):
    lines = [separator.join([*(["id"] if ids else []), *(f"{value:g}" for value in nm)])]
    for row, scan in enumerate(scans):
        lines.append(separator.join([*(ids[row : row + 1]), *(str(value) for value in scan)]))
    return "\n".join(lines) + "\n"


def test_predictions_are_those_of_tensorflow(made, device):
    for scan, expected in zip(hand_made.soils(), made[1], strict=True):
        estimate = device.estimate(scan)
        assert estimate.status == "ok"
        assert estimate.values == pytest.approx({name: expected[name] for name in estimate.values}, rel=1e-5)
        assert (estimate.t2, estimate.q) == pytest.approx((expected["T2"], expected["Q"]), rel=1e-5)


def test_the_result_of_a_scan_does_not_depend_on_earlier_scans(device):
    scans = hand_made.soils()
    forward = [device.estimate(scan) for scan in scans]
    assert [device.estimate(scan) for scan in scans[::-1]][::-1] == forward
    assert device.estimate(scans[0]) == device.estimate(scans[0]) == forward[0]


def test_without_a_reset_the_result_depends_on_earlier_scans(device, monkeypatch):
    """Otherwise the test before this could not fail."""
    scan = hand_made.soils()[0]
    first = device.estimate(scan)

    class WithoutReset:
        def __getattr__(self, name):
            return (lambda: None) if name == "reset_all_variables" else getattr(interpreter, name)

    interpreter = device.model._interpreter
    monkeypatch.setattr(device.model, "_interpreter", WithoutReset())
    device.estimate(scan)
    assert device.estimate(scan).values["pH"] != pytest.approx(first.values["pH"], rel=1e-3)


@pytest.mark.parametrize("cores", [1, 3, 64])
def test_parallel_predictions_equal_single_ones_in_order(made, monkeypatch, cores):
    content = (made[0] / "float32.tflite").read_bytes()
    scans = np.concatenate([np.stack(hand_made.soils())] * 3)[np.random.default_rng(0).permutation(3 * len(made[1]))]
    monkeypatch.setattr(bundled.os, "cpu_count", lambda: cores)
    together = bundled.outputs(content, scans)
    alone = [bundled.outputs(content, scan[None]) for scan in scans]
    for name, values in together.items():
        np.testing.assert_array_equal(values, [outputs[name][0] for outputs in alone])
        assert len(set(values.tolist())) > 1


def test_another_variant_is_another_file(made, device):
    half_precision = SoilScan(made[0], "float16")
    for scan in hand_made.soils():
        estimate, expected = half_precision.estimate(scan), device.estimate(scan)
        assert estimate.status == expected.status
        assert (estimate.t2, estimate.q) == pytest.approx((expected.t2, expected.q), rel=0.01)
        assert estimate.values["pH"] != expected.values["pH"]
        assert estimate.values["pH"] == pytest.approx(expected.values["pH"], abs=0.01)


def spoiled(spoil):
    scan = hand_made.soils()[0]
    return spoil(scan.copy())


def with_band(value):
    def spoil(scan):
        scan[5] = value
        return scan

    return spoil


IMPOSSIBLE = {
    "nan": (with_band(np.nan), "not a finite number at 1050 nm"),
    "infinite": (with_band(np.inf), "not a finite number at 1050 nm"),
    "negative": (with_band(-0.01), "reflectance -0.01 at 1050 nm, expected 0..1.5"),
    "neither percent nor reflectance": (lambda scan: 1000 * scan, "at 1000 nm, expected 0..1.5"),
    "percent": (lambda scan: 100 * scan, "at 1000 nm, expected 0..1.5; is it percent? divide by 100"),
    "constant": (lambda scan: np.full_like(scan, 0.4), "constant"),
    "dark": (lambda scan: 1e-5 * scan, "constant"),
    "not finite in the model": (lambda scan: scan - scan[0] + 0.05, "the output of the model is not finite"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
@pytest.mark.parametrize("variant", ["float32", "float16"])
def test_an_impossible_scan_has_a_reason_and_no_numbers(made, variant, name):
    spoil, reason = IMPOSSIBLE[name]
    scan = np.maximum(spoiled(spoil), 1e-3) if "model" in name else spoiled(spoil)
    estimate = SoilScan(made[0], variant).estimate(scan)
    assert estimate.status == "invalid"
    assert reason in estimate.reason
    facts = estimate.as_dict()
    assert [facts[key] for key in ("values", "intervals", "T2", "Q")] == [None] * 4


def test_percent_reflectance_becomes_absorbance_by_a_logarithm(copied):
    """Percent divided by 100 is reflectance, which has plausible values of absorbance."""
    card = hand_made.card()
    card["input"]["quantity"] = "absorbance"
    (copied / "card.json").write_text(json.dumps(card))
    hand_made.seal(copied)
    reason = SoilScan(copied).estimate(100 * hand_made.soils()[0]).reason
    assert reason.startswith("absorbance ")
    assert reason.endswith("expected -0.2..6; is it percent? give log10(100 / percent)")


def test_format_and_ranges_are_those_of_relple_tf():
    assert soil_scan.FORMAT == cards.BUNDLE_FORMAT
    assert soil_scan.POSSIBLE == {"reflectance": library.REFLECTANCE_RANGE, "absorbance": library.ABSORBANCE_RANGE}
    assert soil_scan.FLATTEST_ABSORBANCE == library.FLATTEST_ABSORBANCE
    assert soil_scan.REFLECTANCE_FLOOR == library.REFLECTANCE_FLOOR
    assert soil_scan.SAME_NM == range_ends.SAME_NM
    assert soil_scan.NEED_TOLERANCE == keep_or_send.TOLERANCE


@pytest.mark.parametrize("limit", ["T2", "Q"])
def test_a_scan_above_a_limit_is_outside_and_the_reason_names_the_limit(copied, device, limit):
    inside = device.estimate(hand_made.soils()[0])
    card = hand_made.card()
    card["domain"]["limits"][limit] = 0.99 * (inside.t2 if limit == "T2" else inside.q)
    (copied / "card.json").write_text(json.dumps(card))
    hand_made.seal(copied)
    outside = SoilScan(copied).estimate(hand_made.soils()[0])
    assert outside.status == "outside"
    assert f"({limit} above" in outside.reason
    assert outside.values == inside.values


def test_intervals_are_those_of_relple_tf(device):
    facts = hand_made.card()["targets"]["OC_g_kg"]["interval"]
    limits = Limits(**{name.lower(): value for name, value in hand_made.LIMITS.items()}, share=0.99)
    for scan in hand_made.soils():
        estimate = device.estimate(scan)
        expected = Interval(**facts).bounds(estimate.values["OC_g_kg"], limits.difficulty(np.array(estimate.t2)))
        assert estimate.intervals["OC_g_kg"] == pytest.approx(expected, rel=1e-9)
        assert estimate.intervals["pH"] is None


def test_intervals_grow_with_t2_without_an_upper_bound():
    ends = soil_scan.interval({"half_width": 1.0, "growth": 4.0, "root": True, "non_negative": True}, 9.0, 300.0)
    assert ends == (0.0, pytest.approx((3 + 1201) ** 2))


@pytest.mark.parametrize("shape", [(23,), (25,), (1, 24), ()])
def test_a_scan_of_another_shape_is_refused(device, shape):
    with pytest.raises(SoilScanError, match="24 bands, 1000 to 1230 nm"):
        device.estimate(np.full(shape, 0.4))


@pytest.mark.parametrize("name", ["card.json", "float32.tflite"])
@pytest.mark.parametrize("change", ["flip", "remove", "unlist"])
def test_a_changed_file_is_never_opened(copied, monkeypatch, name, change):
    monkeypatch.setattr(soil_scan, "Model", lambda content, file: pytest.fail("opened"))
    file, sums = copied / name, copied / "SHA256SUMS"
    if change == "flip":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif change == "remove":
        file.unlink()
    else:
        sums.write_text("".join(line for line in sums.read_text().splitlines(True) if name not in line))
    with pytest.raises(SoilScanError, match=name):
        SoilScan(copied)


def test_a_damaged_file_of_another_variant_is_not_read(copied):
    (copied / "float16.tflite").write_bytes(b"TFL3")
    SoilScan(copied, "float32")
    with pytest.raises(SoilScanError, match=r"float16\.tflite: SHA-256"):
        SoilScan(copied, "float16")


def test_a_folder_without_a_bundle_and_an_unknown_variant_are_refused(copied, tmp_path_factory):
    with pytest.raises(SoilScanError, match="give the folder of a bundle"):
        SoilScan(tmp_path_factory.mktemp("empty"))
    with pytest.raises(SoilScanError, match="no variant int4; there are float32, float16"):
        SoilScan(copied, "int4")
    (copied / "card.json").write_text(json.dumps({**hand_made.card(), "format": 1}))
    hand_made.seal(copied)
    with pytest.raises(SoilScanError, match="expected format 2, received format 1"):
        SoilScan(copied)


MODEL = soil_scan.Bands.of(hand_made.card())


def read(text, tmp_path, notify=lambda note: None):
    path = tmp_path / "scans.csv"
    path.write_text(text, encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        return list(soil_scan.read_scans(file, MODEL, notify=notify))


def same(rows, scans):
    return np.array_equal(np.stack([scan for _, scan in rows]), scans, equal_nan=True)


def test_bands_are_found_by_their_column_names(tmp_path):
    scans = hand_made.soils(3)
    assert same(read(csv_of(scans), tmp_path), scans)
    rows = read(csv_of(scans, ["a", "b", "c"]), tmp_path)
    assert [identity for identity, _ in rows] == ["a", "b", "c"]
    assert same(rows, scans)
    # More bands than the model reads, in another order, and a column of laboratory values.
    nm = [2500.0, *hand_made.NM[::-1], 990.0]
    wide = [[9.0, *scan[::-1], 8.0] for scan in scans]
    text = "OC_g_kg;" + csv_of(wide, nm=nm, separator=";").replace(".", ",").replace("\n", "\n17;", 3)
    assert same(read("\ufeff" + text, tmp_path), scans)
    text = csv_of(scans).replace("1000,", "X1000,").replace(",1010,", ",spc.1010,").replace(",1020,", ",1020nm,")
    assert same(read(text, tmp_path), scans)


def test_rows_without_a_header_have_the_bands_of_the_model(tmp_path):
    scans = hand_made.soils(2)
    rows = read("".join(",".join(map(str, scan)) + "\n" for scan in scans), tmp_path)
    assert [identity for identity, _ in rows] == ["row1", "row2"]
    assert same(rows, scans)


def test_a_cell_that_is_not_a_number_is_nan(tmp_path):
    scans = hand_made.soils(1)
    text = csv_of(scans).replace(f",{scans[0][4]!s},", ",n/a,")
    scans[0][4] = np.nan
    assert same(read(text, tmp_path), scans)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (
            csv_of(hand_made.soils(1), nm=[nm + 10.01 for nm in hand_made.NM]),
            r"^bands 1010.01..1240.01 nm do not cover the model's 1000..1230 nm: they miss 1000 nm by 10.01 nm, more "
            "than 10 nm; scan that range$",
        ),
        (
            csv_of(hand_made.soils(2)[:, :-2], nm=hand_made.NM[:-2]),
            "they miss 1230 nm by 20 nm, more than 10 nm; scan that range$",
        ),
        (
            csv_of(hand_made.soils(1)[:, 3:-3], nm=hand_made.NM[3:-3]),
            "they miss 1000 nm by 30 nm, more than 10 nm and 1230 nm by 30 nm, more than 10 nm; scan",
        ),
        (
            csv_of(hand_made.soils(1)[:, [*range(8), *range(12, 24)]], nm=[*hand_made.NM[:8], *hand_made.NM[12:]]),
            r"no band within 10 nm of 1090 nm, which the model reads \(2 such wavelengths\): complete the scans$",
        ),
        (csv_of(hand_made.soils(1), nm=[1000, *hand_made.NM[:-1]]), "two columns have the wavelength 1000 nm"),
        (csv_of(hand_made.soils(2)) + "0.3,0.4\n", "row 3: expected 24 cells, received 2"),
        ("0.3,0.4\n", "row 1: expected 24 cells, received 2"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, message):
    with pytest.raises(SoilScanError, match=message):
        read(text, tmp_path)


def moved(low_nm, high_nm, seed=0):
    """Ascending wavelengths whose ends lie inside those of the model by these distances, and scans on them."""
    nm = np.array(hand_made.NM) + np.random.default_rng(seed).uniform(-3, 3, hand_made.BANDS)
    nm[0], nm[-1] = hand_made.NM[0] + low_nm, hand_made.NM[-1] - high_nm
    nm = np.sort(nm)
    return nm, np.stack([np.interp(nm, hand_made.NM, scan) for scan in hand_made.soils(3)]).astype("float32")


ENDS = [(0.0, 0.0), (0.0004, 0.0), (7e-6, 7e-6), (4.9, 0.0), (0.0, 10.0), (9.7, 9.9), (-3.0, 2.0)]


@pytest.mark.parametrize(("low_nm", "high_nm"), ENDS)
def test_scans_on_other_wavelengths_are_read_as_relple_tf_reads_them(made, device, tmp_path, low_nm, high_nm):
    nm, scans = moved(low_nm, high_nm)
    scans_of_library = library.SpectralLibrary.from_arrays(scans, {}, wavelengths_nm=nm)
    ready, expected_notes = to_model_input(scans_of_library, device.card)
    text, notes = csv_of(scans, ["a", "b", "c"], nm=[]).split("\n", 1)[1], []
    rows = read("id," + ",".join(map(repr, nm.tolist())) + "\n" + text, tmp_path, notes.append)
    assert same(rows, ready.spectra)
    assert notes == list(expected_notes)
    assert sum("is held" in note for note in notes) == (low_nm > 0) + (high_nm > 0)
    of_arrays, of_table = load(made[0]).predict(scans, wavelengths_nm=nm), load(made[0]).predict(tmp_path / "scans.csv")
    for row, (_, scan) in enumerate(rows):
        estimate = device.estimate(scan)
        for table in (of_arrays, of_table):
            assert table["status"][row] == estimate.status
            for name, value in estimate.values.items():
                assert table[name][row] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("low_nm", "high_nm"), [(10.01, 0.0), (0.0, 10.01), (25.0, 31.0), (-40.0, 10.0021)])
def test_refusals_are_those_of_relple_tf(device, tmp_path, low_nm, high_nm):
    nm, scans = moved(low_nm, high_nm)
    nm = np.clip(nm, hand_made.NM[0] + low_nm, hand_made.NM[-1] - high_nm)
    _, kept = np.unique(nm, return_index=True)
    nm, scans = nm[kept], scans[:, kept]
    with pytest.raises(InputError) as expected:
        to_model_input(library.SpectralLibrary.from_arrays(scans, {}, wavelengths_nm=nm), device.card)
    with pytest.raises(SoilScanError) as received:
        read(",".join(map(repr, nm.tolist())) + "\n", tmp_path)
    assert str(expected.value).startswith(f"arrays: {received.value}")


def test_a_bundle_of_an_earlier_version_has_the_computed_tolerance(copied):
    card = hand_made.card()
    assert soil_scan.Bands.of(card).end_tolerance_nm == cards.input_end_tolerance_nm(card) == (10.0, 10.0)
    card["input"]["end_tolerance_nm"] = [2.0, 3.0]
    assert soil_scan.Bands.of(card).end_tolerance_nm == cards.input_end_tolerance_nm(card) == (2.0, 3.0)
    (copied / "card.json").write_text(json.dumps(card))
    hand_made.seal(copied)
    assert SoilScan(copied).bands.end_tolerance_nm == (2.0, 3.0)


def test_notes_on_wavelengths_are_on_standard_error(made):
    nm, scans = moved(1.5, 0.0)
    code, out, error = command(made[0], "-", "--json", text=csv_of(scans, nm=nm))
    assert code == 0
    assert out.count("\n") == 3
    notes = [line for line in error.splitlines() if line.startswith("note: ")]
    assert notes[0].startswith("note: the bands start 1.5 nm above 1000 nm, the first wavelength of the model: their")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("BUNDLE", "nothere.csv"), "nothere.csv: No such file or directory; expected a CSV table of scans: give"),
        (("BUNDLE", "."), ".: Is a directory; expected a CSV table of scans: give"),
        (("nothere.csv",), "nothere.csv: expected the folder of a bundle, received no such folder; give"),
        ((str(SCRIPT),), f"{SCRIPT}: expected the folder of a bundle, received a file; give"),
    ],
)
def test_a_missing_file_is_named_with_what_was_expected(made, arguments, message):
    arguments = [str(made[0]) if argument == "BUNDLE" else argument for argument in arguments]
    out, line = refused(command(*arguments))
    assert out == ""
    assert line.startswith(f"error: {message}")
    assert "Errno" not in line


def test_the_script_runs_alone_and_prints_json_lines(made, device):
    scans = [*hand_made.soils(2), spoiled(with_band(np.nan))]
    code, out, _ = command(made[0], "-", "--json", text=csv_of(scans, ["a", "b", "c"]))
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    expected = [{"id": name, **device.estimate(scan).as_dict()} for name, scan in zip("abc", scans, strict=True)]
    assert lines == json.loads(json.dumps(expected))


def refused(result):
    """stdout of a refused command, and the single line of its error message."""
    code, out, error = result
    lines = [line for line in error.splitlines() if not line.startswith("INFO: ")]  # LiteRT logs these
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return out, lines[0]


def test_an_endless_cell_is_refused(made, tmp_path):
    (tmp_path / "scans.csv").write_text(csv_of(hand_made.soils(1)) + '"' + "0.3," * 50_000)
    out, line = refused(command(made[0], tmp_path / "scans.csv", "--json"))
    assert out.count("\n") == 1
    assert "field larger than field limit" in line
    assert "after 2 rows" in line


@pytest.mark.parametrize("table", ["/dev/zero", "digits"])
def test_an_endless_row_is_refused(made, tmp_path, monkeypatch, table):
    if table == "digits":
        table = tmp_path / "scans.csv"
        table.write_text("0.3," * (soil_scan.LONGEST_ROW // 4 + 1))
    out, line = refused(command(made[0], table))
    assert out == ""
    assert "a row has more than 4,194,304 characters" in line


def test_an_endless_quoted_row_of_many_lines_is_refused(monkeypatch):
    monkeypatch.setattr(soil_scan, "LONGEST_ROW", 1000)
    lines = iter(['x,"a\n'] + ['b","c\n'] * 500)

    class Endless:
        def readline(self, size):
            return next(lines, "")

    with pytest.raises(SoilScanError, match="a row has more than 1,000 characters"):
        list(soil_scan.rows_of(Endless()))


def test_a_table_with_too_many_columns_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(soil_scan, "MOST_COLUMNS", 24)
    read(csv_of(hand_made.soils(1)), tmp_path)
    with pytest.raises(SoilScanError, match="25 columns, expected at most 24"):
        read(csv_of(hand_made.soils(1), ["a"]), tmp_path)


def test_line_ends_of_all_systems_are_read(tmp_path):
    scans = hand_made.soils(2)
    for end in ("\n", "\r\n", "\r"):
        path = tmp_path / "scans.csv"
        path.write_text(end.join(["", *csv_of(scans, ["a", "b"]).splitlines(), "", " "]), newline="")
        with path.open(newline="") as file:
            assert same(list(soil_scan.read_scans(file, MODEL)), scans)


def test_rows_before_a_wrong_row_are_answered(made, tmp_path):
    (tmp_path / "scans.csv").write_text(csv_of(hand_made.soils(3)) + "0.3,0.4\n" + csv_of(hand_made.soils(1)))
    out, line = refused(command(made[0], tmp_path / "scans.csv", "--json"))
    assert [json.loads(answer)["status"] for answer in out.splitlines()] == ["ok"] * 3
    assert "row 4: expected 24 cells, received 2" in line


def test_a_byte_that_is_not_utf_8_damages_its_cell_only(made, tmp_path):
    scans = hand_made.soils(2)
    content = csv_of(scans, ["erste", "zweite"]).encode().replace(b"erste", b"\xe4rste")
    (tmp_path / "scans.csv").write_bytes(content.replace(f",{scans[1][4]!s},".encode(), b",0.\xff,"))
    code, out, _ = command(made[0], tmp_path / "scans.csv", "--json")
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["id"], first["status"]) == ("\ufffdrste", "ok")
    assert (second["id"], second["reason"]) == ("zweite", "not a finite number at 1040 nm")


class Script:
    """A running soil_scan.py, connected by pipes."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts background processes, such as these tests, with SIGINT ignored.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        # Ends a script that waits for more input, which is a failure.
        self.alarm = threading.Timer(60, self.process.kill)
        self.alarm.start()

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self):
        code = self.process.wait()
        self.alarm.cancel()
        error = self.process.stderr.read()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code, error


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_each_row_is_answered_before_the_next_arrives(made, device, flags):
    scans = hand_made.soils(5)
    head, *rows = csv_of(scans, list("abcde")).splitlines(keepends=True)
    script = Script(made[0], "-", *flags)
    script.write(head)
    for row, (name, scan) in enumerate(zip("abcde", scans, strict=True)):
        script.write(rows[row])
        if not flags and row == 0:
            assert script.process.stdout.readline().startswith("id ")
        answer = script.process.stdout.readline()
        estimate = device.estimate(scan)
        if flags:
            assert json.loads(answer) == json.loads(json.dumps({"id": name, **estimate.as_dict()}))
        else:
            assert answer.split()[0] == name
            assert f"{estimate.values['pH']:.4g}" in answer
    script.process.stdin.close()
    assert script.process.stdout.read() == ""
    assert script.end()[0] == 0


def test_a_closed_output_pipe_ends_the_script_without_an_error(made):
    head, row = csv_of(hand_made.soils(1)).splitlines(keepends=True)
    script = Script(made[0], "-", "--json")
    script.write(head + row)
    assert json.loads(script.process.stdout.readline())["status"] == "ok"
    script.process.stdout.close()
    with contextlib.suppress(BrokenPipeError):  # the script may end during the write
        script.write(10 * row)
    code, error = script.end()
    assert code == 0
    assert [line for line in error.splitlines() if not line.startswith("INFO: ")] == []


def test_ctrl_c_ends_the_script_without_a_traceback(made):
    head, row = csv_of(hand_made.soils(1)).splitlines(keepends=True)
    script = Script(made[0], "-", "--json")
    script.write(head + row)
    assert script.process.stdout.readline()
    script.process.send_signal(signal.SIGINT)
    code, error = script.end()
    assert code == 130
    assert "Traceback" not in error


def test_cells_are_printed_below_the_names_of_their_columns(made, tmp_path):
    scans = [hand_made.soils(1)[0], spoiled(with_band(np.nan))]
    (tmp_path / "scans.csv").write_text(csv_of(scans, ["first", "second"]))
    head, first, second = command(made[0], tmp_path / "scans.csv")[1].splitlines()
    for name, cells in {"OC_g_kg": ("5.336", "-"), "pH": ("5.775", "-"), "status": ("ok", "invalid")}.items():
        assert [line[head.index(name) :].split()[0] for line in (first, second)] == list(cells)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+soil", "'+soil"),
        ("-soil", "'-soil"),
        ("@soil", "'@soil"),
        ("-12.5", "-12.5"),
        ("+3e2", "+3e2"),
        ("soil=1", "soil=1"),
        ("\x1b[2J", "?[2J"),
        ("two\nlines", "two lines"),
    ],
)
def test_ids_are_printed_neither_as_formulas_nor_as_control_characters(device, cell, shown):
    estimate = device.estimate(hand_made.soils(1)[0])
    line = soil_scan.line_of(device.targets, cell, estimate)
    assert line.startswith(f"{shown}  ")
    assert len(line.splitlines()) == 1


def test_the_script_prints_a_table_from_a_file(made, device, tmp_path):
    scans = [hand_made.soils(1)[0], spoiled(with_band(np.nan))]
    (tmp_path / "scans.csv").write_text(csv_of(scans, ["first", "second"]))
    code, out, _ = command(made[0], tmp_path / "scans.csv", "--variant", "float16")
    assert code == 0
    head, first, second = out.splitlines()
    assert head.split() == ["id", "OC_g_kg", "pH", "status"]
    estimate = SoilScan(made[0], "float16").estimate(scans[0])
    low, high = estimate.intervals["OC_g_kg"]
    assert first.split() == [
        *("first", f"{estimate.values['OC_g_kg']:.4g}", f"({low:.4g}", "to", f"{high:.4g})"),
        *(f"{estimate.values['pH']:.4g}", "ok"),
    ]
    assert second.split()[:4] == ["second", "-", "-", "invalid"]


def test_the_script_refuses_in_one_line(copied):
    (copied / "float32.tflite").write_bytes(b"TFL3")
    code, out, err = command(copied, "-", text=csv_of(hand_made.soils(1)))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "float32.tflite" in err
    assert err.count("\n") == 1


def test_decisions_follow_the_half_width_and_the_status(device):
    for scan in hand_made.soils():
        estimate = device.estimate(scan)
        low, high = estimate.intervals["OC_g_kg"]
        width = max(estimate.values["OC_g_kg"] - low, high - estimate.values["OC_g_kg"])
        kept = [device.decisions(estimate, {"OC_g_kg": width * factor}) for factor in (1e-9, 0.999, 1.0, 1e9)]
        ok = "keep" if estimate.status == "ok" else "send"
        assert [decision["OC_g_kg"] for decision in kept] == ["send", "send", ok, ok]
    for scan in (spoiled(with_band(np.nan)), np.float32([0.01, 1.4] * 12)):
        estimate = device.estimate(scan)
        assert estimate.status != "ok"
        assert device.decisions(estimate, {"OC_g_kg": 1e300}) == {"OC_g_kg": "send"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected TARGET=WIDTH,... such as OC_g_kg=3,pH=0.3, received 'nothing'"),
        ("OC_g_kg", "received 'OC_g_kg'"),
        ("OC_g_kg=3,", "received 'nothing'"),
        ("OC_g_kg=3,OC_g_kg=4", "OC_g_kg is given twice"),
        ("Au_ppm=3", "the bundle has no target Au_ppm; it has OC_g_kg, pH"),
        ("pH=0.3", "pH has no prediction interval in this bundle"),
        *((f"OC_g_kg={width}", "expected a finite number above 0") for width in ("0", "-1", "nan", "inf", "wide")),
    ],
)
def test_a_wrong_need_is_refused_in_one_line(made, text, message):
    out, line = refused(command(made[0], "-", "--need", text, text=csv_of(hand_made.soils(1))))
    assert out == ""
    assert message in line


def test_the_table_and_the_json_lines_hold_the_decisions(made, device):
    scans = [*hand_made.soils(2), spoiled(with_band(np.nan))]
    text = csv_of(scans, ["a", "b", "c"])
    code, out, _ = command(made[0], "-", "--need", "OC_g_kg=1e9", text=text)
    assert code == 0
    head, *rows = out.splitlines()
    assert head.split() == ["id", "OC_g_kg", "pH", "OC_g_kg_decision", "status"]
    column = head.index("OC_g_kg_decision")
    expected = ["keep" if device.estimate(scan).status == "ok" else "send" for scan in scans]
    assert [row[column:].split()[0] for row in rows] == expected
    code, out, _ = command(made[0], "-", "--need", "OC_g_kg=1e9", "--json", text=text)
    assert [json.loads(line)["decisions"] for line in out.splitlines()] == [{"OC_g_kg": word} for word in expected]
    assert command(made[0], "-", "--golden", "--need", "OC_g_kg=3")[0] == 2
