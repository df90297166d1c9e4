"""Files of instruments: what was written is read back, other quantities and ranges are refused by name."""

import random
import sys

import numpy as np
import pytest
from instrument_writers import ABSORBANCE, NM, REFLECTANCE, WAVENUMBERS, asd, dpt, jcamp, opus, sed, spc, svc, xlsx

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.cells import read_cells, read_layout
from relple_tf.spectra.readers.instruments import registry
from relple_tf.spectra.readers.instruments.asd import counts
from relple_tf.spectra.readers.instruments.registry import FORMATS, instrument_format, read_instrument
from relple_tf.spectra.readers.instruments.spc import parse_spc
from relple_tf.spectra.readers.instruments.svc import without_overlap
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.readers.tables import scan_columns

LIMITS = LimitsConfig()
ENDS = (WAVENUMBERS[0], WAVENUMBERS[-1])
MIDDLE_INFRARED = np.linspace(4000.0, 400.0, 49)
WHITE = np.linspace(20_000.0, 30_000.0, 20)


def read(path):
    table = read_instrument(path, LIMITS)
    assert table is not None
    return table


def refusal(path):
    with pytest.raises(InputError) as raised:
        read_layout(path, LIMITS)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


WRITTEN = {
    "Bruker OPUS": ("a.0", lambda path: opus(path, {"a": (ENDS, ABSORBANCE)}), WAVENUMBERS, ABSORBANCE, "absorbance"),
    "ASD FieldSpec": ("a.asd", lambda path: asd(path, REFLECTANCE * WHITE, WHITE), NM, REFLECTANCE, "reflectance"),
    "SVC/GER": ("a.sig", lambda path: svc(path, NM, REFLECTANCE), NM, REFLECTANCE, "reflectance"),
    "Spectral Evolution": (
        "a.sed",
        lambda path: sed(path, {"Wvl": NM, "Reflect. %": 100 * REFLECTANCE}),
        NM,
        REFLECTANCE,
        "reflectance",
    ),
    "JCAMP-DX": ("a.jdx", lambda path: jcamp(path, WAVENUMBERS, ABSORBANCE), WAVENUMBERS, ABSORBANCE, "absorbance"),
    "Excel": (
        "a.xlsx",
        lambda path: xlsx(path, [["sample", *(f"{nm:g}_ref" for nm in NM)], ["a", *REFLECTANCE.tolist()]]),
        NM,
        REFLECTANCE,
        "reflectance",
    ),
    "Galactic SPC": ("a.spc", lambda path: spc(path, NM, REFLECTANCE), NM, REFLECTANCE, "reflectance"),
    "two-column text": ("a.dpt", lambda path: dpt(path, NM, REFLECTANCE), NM, REFLECTANCE, ""),
}
"""Format -> name of a file, its writer, and the axis, values and quantity that were written."""


def test_every_format_has_a_written_file():
    assert {form.name for form in FORMATS} - {"not read"} == set(WRITTEN)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_is_read_back(name, tmp_path):
    file, write, axis, values, quantity = WRITTEN[name]
    table = read(write(tmp_path / file))
    np.testing.assert_allclose(table.axis, axis, rtol=1e-9)
    # SVC files have two decimals of a percent.
    np.testing.assert_allclose(table.spectra, [values], rtol=1e-6, atol=5.1e-5 if name == "SVC/GER" else 0)
    assert table.quantity == quantity
    assert len(table.texts["sample"]) == 1
    assert any(note.startswith("file format: ") for note in table.notes)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_first_bytes_decide_not_the_extension(name, tmp_path):
    file, write, *_ = WRITTEN[name]
    path = write(tmp_path / file)
    assert instrument_format(path.rename(tmp_path / "renamed.csv")).name == name


@pytest.mark.parametrize("name", WRITTEN)
def test_training_and_prediction_read_the_same_numbers(name, tmp_path):
    file, write, _, values, quantity = WRITTEN[name]
    path = write(tmp_path / file)
    layout = read_layout(path, LIMITS)
    columns = scan_columns(layout)
    cells = read_cells(layout, columns.bands.positions, ())
    assert columns.quantity == quantity
    (chunk,) = open_scans(path, fallback_quantity=quantity or "reflectance").chunks(10)
    np.testing.assert_array_equal(chunk.library.spectra, cells.bands)
    assert (np.diff(columns.bands.wavelengths_nm) > 0).all()
    assert np.isclose(cells.bands, values).all() or np.isclose(cells.bands, values[::-1]).all() or name == "SVC/GER"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_damaged_file_is_one_line(name, tmp_path):
    file, write, _, values, _ = WRITTEN[name]
    path = write(tmp_path / file)
    content, draw, messages = path.read_bytes(), random.Random(name), []
    for trial in range(120):
        damaged = bytearray(content)
        if trial % 2:
            damaged = damaged[: draw.randrange(1, len(content))]
        else:
            for _ in range(draw.choice((1, 8))):
                damaged[draw.randrange(len(content))] = draw.choice((0, 255, draw.randrange(256)))
        path.write_bytes(damaged)
        try:
            layout = read_layout(path, LIMITS)
            columns = scan_columns(layout)
            cells = read_cells(layout, columns.bands.positions, ())
        except InputError as error:
            messages.append(str(error))
            continue
        if trial % 2 and name not in ("SVC/GER", "two-column text"):  # text without a count may end after any line
            np.testing.assert_allclose(np.sort(cells.bands[0]), np.sort(values), rtol=1e-6)
    assert messages
    assert all(len(message.splitlines()) == 1 for message in messages)


@pytest.mark.parametrize("name", ["SVC/GER", "two-column text"])
def test_text_that_is_cut_never_gives_a_wrong_number(name, tmp_path):
    file, write, axis, values, _ = WRITTEN[name]
    path = write(tmp_path / file)
    content = path.read_bytes()
    for length in range(len(content) - 60, len(content)):
        path.write_bytes(content[:length])
        try:
            table = read(path)
        except InputError:
            continue
        bands = len(table.axis)
        np.testing.assert_array_equal(table.axis, axis[:bands])
        np.testing.assert_allclose(table.spectra[0], values[:bands], atol=5.1e-5)


REFUSED = {
    "OPUS: mid-infrared": (
        lambda path: opus(path, {"r": ((4000.0, 400.0), ABSORBANCE)}),
        "a mid-infrared spectrum (Bruker OPUS): expected at least 10 bands within 350..2500 nm, got 1; the file covers "
        "2500..25000 nm (400..4000 cm-1)",
    ),
    "OPUS: interferogram": (
        lambda path: opus(path, {"igsm": ((0.0, 48.0), ABSORBANCE)}),
        "got only Sample Interferogram",
    ),
    "OPUS: single beam": (lambda path: opus(path, {"sm": (ENDS, ABSORBANCE)}), "got only Sample Spectrum"),
    "OPUS: transmittance": (
        lambda path: opus(path, {"t": (ENDS, ABSORBANCE), "sm": (ENDS, ABSORBANCE), "rf": (ENDS, ABSORBANCE)}),
        "Transmittance",
    ),
    "OPUS: derivative": (lambda path: opus(path, {"a": (ENDS, ABSORBANCE)}, derivative=1), "First Derivative"),
    "OPUS: axis in points": (lambda path: opus(path, {"a": (ENDS, ABSORBANCE)}, unit="PNT"), "got 'PNT'"),
    "ASD: counts without a reference": (lambda path: asd(path, REFLECTANCE * WHITE, 0 * WHITE), "got a target only"),
    "ASD: radiance": (lambda path: asd(path, REFLECTANCE, kind=2), "got radiance"),
    "ASD: old version": (lambda path: asd(path, REFLECTANCE, kind=1, version=b"as3"), "got as3"),
    "ASD: reference with a zero": (
        lambda path: asd(path, REFLECTANCE * WHITE, np.where(NM == 1150, 0, WHITE)),
        "the value at 1150 nm of scan 1 is not a finite number",
    ),
    "SVC: no reflectance": (lambda path: svc(path, NM, REFLECTANCE, columns=3), "got 3 columns"),
    "SVC: four detectors": (
        lambda path: svc(path, [*NM, *NM - 5, *NM - 6, *NM - 7], [*REFLECTANCE] * 4),
        "its wavelengths rise and fall",
    ),
    "SED: radiance": (lambda path: sed(path, {"Wvl": NM, "Rad. (Target)": REFLECTANCE}), "got only wvl, rad. (target)"),
    "SED: bands missing": (
        lambda path: sed(path, {"Wvl": NM, "Reflect. %": REFLECTANCE}, channels=99),
        "20 bands, but its header states 99",
    ),
    "SPC: Kubelka-Munk": (lambda path: spc(path, NM, REFLECTANCE, y_type=3), "got Kubelka-Munk"),
    "SPC: counts": (lambda path: spc(path, NM, REFLECTANCE, y_type=4), "got counts"),
    "SPC: single beam": (lambda path: spc(path, NM, REFLECTANCE, y_type=130), "got a single beam"),
    "SPC: interferogram": (lambda path: spc(path, NM, REFLECTANCE, y_type=1), "got an interferogram"),
    "SPC: derivative": (lambda path: spc(path, NM, REFLECTANCE, modified=16), "got a derivative of reflectance"),
    "SPC: axis without unit": (lambda path: spc(path, NM, REFLECTANCE, x_type=0), "got type 0"),
    "SPC: mid-infrared": (lambda path: spc(path, MIDDLE_INFRARED, ABSORBANCE, x_type=1), "a mid-infrared spectrum"),
    "SPC: label": (lambda path: spc(path, NM, REFLECTANCE, y_type=0, labels=b"nm\0log(1/T)\0\0"), "got log(1/T)"),
    "SPC: old format": (
        lambda path: path.write_bytes(b"\0\x4d" + bytes(300)) and path,
        "of the old format",
    ),
    "JCAMP: transmittance": (
        lambda path: jcamp(path, WAVENUMBERS, ABSORBANCE, y_unit="TRANSMITTANCE"),
        "expected absorbance or reflectance, got transmittance (JCAMP-DX)",
    ),
    "JCAMP: mid-infrared transmittance": (
        lambda path: jcamp(path, MIDDLE_INFRARED, ABSORBANCE, y_unit="TRANSMITTANCE"),
        "a mid-infrared spectrum (JCAMP-DX)",
    ),
    "JCAMP: axis in seconds": (lambda path: jcamp(path, WAVENUMBERS, ABSORBANCE, x_unit="SECONDS"), "got 'SECONDS'"),
    "JCAMP: a value is missing": (
        lambda path: jcamp(path, WAVENUMBERS, ABSORBANCE, body=["9000 .5 .5 .5", "8700 .5 .5"]),
        "damaged or incomplete JCAMP-DX file",
    ),
    "JCAMP: endless": (
        lambda path: jcamp(path, WAVENUMBERS, ABSORBANCE, body=["9000 A" + "1" * 2000]),
        "a line of more than 1000 characters",
    ),
    "two columns: descending": (lambda path: dpt(path, NM[::-1], REFLECTANCE), "which may be nm or cm-1"),
    "two columns: to 2700": (lambda path: dpt(path, NM + 1500, REFLECTANCE), "which may be nm or cm-1"),
    "two columns: mid-infrared": (lambda path: dpt(path, MIDDLE_INFRARED, ABSORBANCE), "a mid-infrared spectrum"),
    "two columns: a gap": (lambda path: dpt(path, np.where(NM == 1200, 1190, NM), REFLECTANCE), "rise and fall"),
    "OLE": (lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)) and path, "Excel 97-2003"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_near_infrared_spectrum_is_refused_by_name(case, tmp_path):
    write, part = REFUSED[case]
    suffix = ".dpt" if case.startswith("two") else ".bin"
    assert part in refusal(write(tmp_path / f"scan{suffix}"))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(("a.nir", "WinISI"), ("a.cal", "WinISI"), ("a.sam", "MicroNIR"), ("a.unsb", "Unscrambler")),
        *(("a.spa", "OMNIC"), ("a.mat", "MATLAB")),
    ],
)
def test_closed_formats_say_how_to_export(name, part, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"\x01\x00\x02" + bytes(300))
    message = refusal(path)
    assert part in message
    assert any(word in message.lower() for word in ("export", "save", "write"))


def test_text_with_the_extension_of_a_closed_format_is_read_as_a_table(tmp_path):
    path = tmp_path / "a.cal"
    path.write_text("id," + ",".join(f"{nm:g}" for nm in NM) + "\na," + ",".join(map(str, REFLECTANCE)) + "\n")
    assert read_layout(path, LIMITS).separator == ","


@pytest.mark.parametrize(
    "text", ["MKN,1100\n1,2\n", "ASD,1100\n1,2\n", "##,1100\n1,2\n", "id,1100\n", "1100,1200\n.3,.4\n", "\n\n"]
)
def test_tables_are_not_taken_for_instrument_files(text, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    assert instrument_format(path) is None


@pytest.mark.parametrize(
    ("module", "name"), [("brukeropus.file", "Bruker OPUS"), ("jcamp", "JCAMP-DX"), ("openpyxl", "Excel")]
)
def test_a_missing_package_is_named_with_its_extra(module, name, tmp_path, monkeypatch):
    file, write, *_ = WRITTEN[name]
    path = write(tmp_path / file)
    monkeypatch.setitem(sys.modules, module, None)
    assert "pip install 'relple-tf[instruments]'" in refusal(path)


def test_a_file_that_is_read_as_a_whole_has_a_largest_size(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "LARGEST_BYTES", 100)
    assert "more than 100 for a SVC/GER file" in refusal(svc(tmp_path / "a.sig", NM, REFLECTANCE))


def test_opus_reflectance_is_the_ratio_of_the_single_beams(tmp_path):
    white = np.linspace(1.0, 2.0, 49)
    table = read(opus(tmp_path / "a.0", {"sm": (ENDS, ABSORBANCE * white), "rf": (ENDS, white)}))
    np.testing.assert_allclose(table.spectra[0], ABSORBANCE, rtol=1e-6)
    assert table.quantity == "reflectance"
    assert any("single beam of the sample / single beam of the reference" in note for note in table.notes)


def test_opus_beams_on_different_axes_have_no_ratio(tmp_path):
    path = opus(tmp_path / "a.0", {"sm": (ENDS, ABSORBANCE), "rf": ((9000.0, 4100.0), ABSORBANCE)})
    assert "got only Reference Spectrum, Sample Spectrum" in refusal(path)


def test_opus_micrometres_are_nm(tmp_path):
    table = read(opus(tmp_path / "a.0", {"a": ((1.1, 2.4), ABSORBANCE)}, unit="MI"))
    np.testing.assert_allclose(table.axis[[0, -1]], [1100, 2400])
    assert table.axis_unit == "nm"


@pytest.mark.parametrize("sample", ["field 7", ""])
def test_the_sample_is_the_name_in_the_file_else_the_stem(sample, tmp_path):
    table = read(opus(tmp_path / "scan_3.0", {"a": (ENDS, ABSORBANCE)}, sample=sample))
    assert table.texts["sample"] == [sample or "scan_3"]
    assert ("file" in table.texts) == bool(sample)


def test_opus_parameters_of_negative_size_end(tmp_path):
    """brukeropus follows a negative size backwards without end."""
    table = read(opus(tmp_path / "scan_3.0", {"a": (ENDS, ABSORBANCE)}, negative_size=True))
    assert table.texts["sample"] == ["scan_3"]


@pytest.mark.parametrize(("form", "tolerance"), [(0, 1e-6), (1, 3e-4), (2, 1e-7)])
def test_asd_counts_of_each_number_format(form, tolerance, tmp_path):
    path = asd(tmp_path / "a.asd", REFLECTANCE * WHITE, WHITE, form=form)
    target, reference = counts(path)
    np.testing.assert_allclose(target, REFLECTANCE * WHITE, rtol=tolerance)
    np.testing.assert_allclose(reference, WHITE, rtol=tolerance)
    np.testing.assert_allclose(read(path).spectra[0], REFLECTANCE, rtol=2 * tolerance)


@pytest.mark.parametrize(("kind", "quantity"), [(1, "reflectance"), (8, "absorbance")])
def test_asd_values_that_are_no_counts_are_not_divided(kind, quantity, tmp_path):
    table = read(asd(tmp_path / "a.asd", REFLECTANCE, WHITE, kind=kind))
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-6)
    assert table.quantity == quantity


def test_asd_counts_under_the_type_reflectance_are_divided(tmp_path):
    table = read(asd(tmp_path / "a.asd", REFLECTANCE * WHITE, WHITE, kind=1))
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-6)


def test_svc_keeps_each_detector_up_to_the_centre_of_an_overlap(tmp_path):
    first, second, third = np.arange(900.0, 1011, 2), np.arange(971.0, 1911, 3), np.arange(1891.0, 2401, 4)
    wavelengths = np.concatenate([first, second, third])
    kept, cuts = without_overlap(wavelengths)
    assert cuts == [990.5, 1900.5]
    assert (np.diff(wavelengths[kept]) > 0).all()
    outside = (wavelengths < 971) | ((wavelengths > 1010) & (wavelengths < 1891)) | (wavelengths > 1910)
    assert kept[outside].all()
    assert (
        wavelengths[: len(first)][kept[: len(first)]].max()
        <= 990.5
        < wavelengths[len(first) :][kept[len(first) :]].min()
    )
    detector = np.repeat([0.1, 0.2, 0.3], [len(first), len(second), len(third)])
    table = read(svc(tmp_path / "a.sig", wavelengths, detector))
    expected = np.select([table.axis <= 990.5, table.axis <= 1900.5], [0.1, 0.2], 0.3)
    np.testing.assert_allclose(table.spectra[0], expected, rtol=1e-6)
    assert any("(990.5, 1900.5 nm)" in note for note in table.notes)


def test_svc_without_an_overlap_keeps_all_bands(tmp_path):
    assert len(read(svc(tmp_path / "a.sig", NM, REFLECTANCE)).axis) == len(NM)


@pytest.mark.parametrize(
    "columns",
    [
        {"Wvl": NM, "Reflect. [1.0]": REFLECTANCE},
        {"Wvl": NM, "Rad. (Ref.)": 2 + 0 * NM, "Rad. (Target)": 2 * REFLECTANCE},
        {
            "Chan.#": np.arange(20),
            "Wvl": NM,
            "Rad. (Target)": 0 * NM,
            "Rad. (Ref.)": 0 * NM,
            "Tgt./Ref. %": 100 * REFLECTANCE,
        },
    ],
)
def test_spectral_evolution_columns_in_any_form_and_order(columns, tmp_path):
    table = read(sed(tmp_path / "a.sed", columns))
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-6)
    assert table.quantity == "reflectance"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "form",
    [{}, {"stored_axis": True}, {"own_axes": True}, {"exponent": 1}, {"exponent": 0}, {"exponent": 1, "short": True}],
    ids=str,
)
@pytest.mark.parametrize("many", [False, True])
def test_spc_stores_the_same_values_in_each_form(order, form, many, tmp_path):
    values = np.stack([REFLECTANCE, REFLECTANCE / 2, REFLECTANCE / 3])[: 3 if many else 1]
    path = spc(tmp_path / "soils.spc", NM, values, order=order, **form)
    step = 2.0 ** (form["exponent"] - (16 if "short" in form else 32)) if "exponent" in form else 0
    table = read(path)
    np.testing.assert_allclose(table.spectra, values, rtol=1e-6, atol=step)
    np.testing.assert_allclose(table.axis, NM, rtol=1e-7)
    expected = [f"spectrum {number} of soils" for number in (1, 2, 3)] if many else ["soils"]
    assert list(table.texts["sample"]) == expected


def test_spc_values_are_reachable_whatever_their_quantity(tmp_path):
    path = spc(tmp_path / "a.spc", NM, REFLECTANCE, y_type=3)
    file = parse_spc(path, LIMITS)
    np.testing.assert_allclose(file.spectra, [REFLECTANCE], rtol=1e-6)
    assert (file.axis_type, file.value_type) == (3, 3)


def test_spc_spectra_on_different_axes_are_refused(tmp_path):
    path = spc(tmp_path / "a.spc", NM, [REFLECTANCE, REFLECTANCE], own_axes=True)
    content = bytearray(path.read_bytes())
    content[-4 * len(NM) * 2 :][:1] = b""
    second_axis = len(content) - 8 * len(NM)
    content[second_axis : second_axis + 4] = np.float32(1099).tobytes()
    path.write_bytes(content)
    assert "spectrum 2 has another axis than spectrum 1" in refusal(path)


@pytest.mark.parametrize(
    ("labels", "quantity", "factor"),
    [(b"nm\0Reflectance (%)\0\0", "reflectance", 100), (b"Wavelength (nm)\0Log(1/R)\0\0", "absorbance", 1)],
)
def test_spc_labels_replace_the_names_of_the_types(labels, quantity, factor, tmp_path):
    table = read(spc(tmp_path / "a.spc", NM, factor * REFLECTANCE, x_type=0, y_type=0, labels=labels))
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-6)
    assert table.quantity == quantity


def test_a_stated_reflectance_that_is_no_fraction_is_left_to_the_rules(tmp_path):
    table = read(spc(tmp_path / "a.spc", NM, 100 * REFLECTANCE))
    np.testing.assert_allclose(table.spectra[0], 100 * REFLECTANCE, rtol=1e-6)
    assert table.quantity == ""
    assert any("no fraction of 1" in note for note in table.notes)


def test_jcamp_compressed_values_are_those_of_plain_text(tmp_path):
    """JCAMP-DX 4.24: A is 1, then differences (% is 0, J is 1, K is 2, l is -3), U is three times, and a check."""
    axis = np.linspace(9000.0, 4500.0, 10)
    body = ["9000A000J%Kl%JUJ", "4500A004"]
    values = np.array([1000, 1001, 1001, 1003, 1000, 1000, 1001, 1002, 1003, 1004.0])
    table = read(jcamp(tmp_path / "a.jdx", axis, values, factor=0.0005, body=body))
    np.testing.assert_allclose(table.spectra[0], 0.0005 * values, rtol=1e-6)


@pytest.mark.parametrize(
    ("y_unit", "quantity", "factor"),
    [("REFLECTANCE", "reflectance", 1), ("% Reflectance", "reflectance", 100), ("log(1/R)", "absorbance", 1)],
)
@pytest.mark.parametrize(("x_unit", "scale"), [("NANOMETERS", 1), ("MICROMETERS", 1000)])
def test_jcamp_units(y_unit, quantity, factor, x_unit, scale, tmp_path):
    table = read(jcamp(tmp_path / "a.jdx", NM / scale, factor * REFLECTANCE, x_unit=x_unit, y_unit=y_unit))
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-5)
    np.testing.assert_allclose(table.axis, NM, rtol=1e-9)
    assert (table.quantity, table.axis_unit) == (quantity, "nm")
    assert table.texts["sample"] == ["plot 12"]


@pytest.mark.parametrize(
    ("separator", "comma"),
    [*((separator, False) for separator in (",", ";", "\t", "  ", ", ")), (";", True), ("\t", True), ("  ", True)],
)
def test_two_columns_of_each_separator(separator, comma, tmp_path):
    table = read(dpt(tmp_path / "a.txt", NM, REFLECTANCE, separator, comma))
    np.testing.assert_array_equal(table.axis, NM)
    np.testing.assert_allclose(table.spectra[0], REFLECTANCE, rtol=1e-6)
    assert any("was read as nm" in note for note in table.notes)


@pytest.mark.parametrize(
    ("axis", "unit"),
    [(NM, "nm"), (WAVENUMBERS[:20], "cm-1"), (WAVENUMBERS[19::-1], "cm-1"), (np.linspace(7500, 600, 20), "cm-1")],
)
def test_two_columns_have_the_only_possible_unit(axis, unit, tmp_path):
    table = read(dpt(tmp_path / "a.dpt", axis, REFLECTANCE))
    assert table.axis_unit == unit
