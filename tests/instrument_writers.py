"""Write small files of instruments, after the descriptions of their formats."""

import struct

import numpy as np

NM = np.arange(1100.0, 1300.0, 10.0)
WAVENUMBERS = np.linspace(9000.0, 4200.0, 49)
REFLECTANCE = np.round(0.3 + 0.1 * np.sin(np.arange(20)), 4)
ABSORBANCE = np.round(0.5 + 0.2 * np.cos(np.arange(49) / 7), 4)

OPUS_TYPES = {"a": 4, "t": 5, "km": 6, "r": 12, "logr": 15}
"""Fourth number of the type of a block with a ratio."""


def opus(path, spectra, sample="field 7", unit="WN", derivative=0, negative_size=False):
    """An OPUS file; `spectra` maps a kind (OPUS_TYPES, `sm`, `rf` or `igsm`) to (axis ends, values)."""

    def parameters(**values):
        content = b""
        for key, value in values.items():
            data, code = (struct.pack("<i", value), 0) if isinstance(value, int) else (b"", 2)
            if isinstance(value, float):
                data, code = struct.pack("<d", value), 1
            elif isinstance(value, str):
                data = value.encode("latin-1") + b"\0"
                data += b"\0" * (-len(data) % 4)
            content += key.upper().encode() + b"\0" + struct.pack("<2h", code, len(data) // 2) + data
        return content + b"END\0" + bytes(4)

    def kind(*numbers):
        return sum(number << shift for number, shift in zip(numbers, (0, 2, 4, 10, 17, 19), strict=True))

    origin = parameters(snm=sample)
    if negative_size:
        origin = origin[:6] + struct.pack("<h", -4) + origin[8:]
    blocks = [(kind(0, 0, 10, 0, 0, 0), origin)]
    for name, (ends, values) in spectra.items():
        side = {"sm": 1, "igsm": 1, "rf": 2}.get(name, 3)
        code = {"sm": 1, "rf": 1, "igsm": 2}.get(name) or OPUS_TYPES[name]
        values = np.asarray(values, dtype="<f4")
        status = parameters(
            dpf=1, npt=len(values), fxv=float(ends[0]), lxv=float(ends[1]), csf=1.0,
            mxy=float(values.max()), mny=float(values.min()), dxu=unit,
        )  # fmt: skip
        blocks += [(kind(3, side, 0, code, derivative, 0), values.tobytes())]
        blocks += [(kind(3, side, 1, code, derivative, 0), status)]
    start = 24 + 12 * (len(blocks) + 1)
    directory = struct.pack("<3i", kind(0, 0, 0, 13, 0, 0), 3 * (len(blocks) + 1), 24)
    content = b""
    for code, data in blocks:
        directory += struct.pack("<3i", code, len(data) // 4, start + len(content))
        content += data
    header = b"\n\n\xfe\xfe" + struct.pack("<d3i", 920622.0, 24, len(blocks) + 1, len(blocks) + 1)
    path.write_bytes(header + directory + content)
    return path


def asd(path, target, reference=None, *, kind=0, form=2, first=1100.0, step=10.0, version=b"as7"):
    """An ASD file; `kind` is its `data_type` and `form` its `data_format`."""
    header = bytearray(484)
    header[:3] = version
    header[186], header[199] = kind, form
    struct.pack_into("<2f", header, 191, first, step)
    struct.pack_into("<H", header, 204, len(target))
    number = {0: "<f4", 1: "<i4", 2: "<f8"}[form]
    content = bytes(header) + np.asarray(target).astype(number).tobytes()
    if reference is not None:
        content += struct.pack("<H16xH", 1, 11) + b"white panel" + np.asarray(reference).astype(number).tobytes()
    path.write_bytes(content)
    return path


def spc(
    path, axis, spectra, *, x_type=3, y_type=129, order="<", exponent=-128,
    stored_axis=False, own_axes=False, short=False, labels=b"", modified=0,
):  # fmt: skip
    """A Galactic SPC file; an exponent other than -128 stores integers."""
    spectra = np.atleast_2d(spectra)
    many = len(spectra) > 1
    flags = short * 1 | many * 4 | bool(labels) * 0x20 | own_axes * 0x40 | (stored_axis or own_axes) * 0x80
    points = 0 if own_axes else len(axis)
    content = struct.pack(
        order + "4BIddI4BI9s9sH32s130s30s2I2BHf48sfIfB187s",
        *(flags, 0x4B if order == "<" else 0x4C, 5, exponent % 256, points, axis[0], axis[-1], len(spectra)),
        *(x_type, y_type, 0, 0, 0, b"", b"", 0, b"", b"", labels, 0, modified, 0, 0, 0, 1.0, b"", 0.0, 0, 0.0, 0, b""),
    )
    if stored_axis:
        content += np.asarray(axis, dtype=order + "f4").tobytes()
    for number, values in enumerate(spectra):
        # A file of one spectrum has its exponent in the main header only.
        content += struct.pack(order + "BbHfffIIf4s", 0, exponent if many else 0, number, 0, 0, 0, len(axis), 1, 0, b"")
        if own_axes:
            content += np.asarray(axis, dtype=order + "f4").tobytes()
        if exponent == -128:
            content += np.asarray(values, dtype=order + "f4").tobytes()
        else:
            bits = 16 if short else 32
            integers = np.round(np.asarray(values) * 2.0 ** (bits - exponent))
            content += integers.astype(order + ("i2" if short else "i4")).tobytes()
    path.write_bytes(content)
    return path


def svc(path, wavelengths, reflectance, columns=4):
    """An SVC file with reflectance in percent."""
    lines = ["/*** Spectra Vista SIG Data ***/", f"name= {path.name}", "units= Radiance, Radiance", "data= "]
    for nm, value in zip(wavelengths, reflectance, strict=True):
        cells = (f"{nm:.1f}", "500.00", f"{500 * value:.2f}", f"{100 * value:.2f}")
        lines.append("  ".join(cells[:columns]))
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode())
    return path


def sed(path, columns, channels=None):
    """A Spectral Evolution file; `columns` maps names to values."""
    rows = list(zip(*columns.values(), strict=True))
    lines = ["Comment: ", "Version: 2.2", "Detectors: 512,256,256", f"Channels: {channels or len(rows)}"]
    lines += [f"Columns [{len(columns)}]:", "Data:", "\t".join(columns)]
    lines += ["\t".join(f"{value:9.4f}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def jcamp(path, axis, values, x_unit="1/CM", y_unit="ABSORBANCE", factor=1.0, body=None, title="plot 12"):
    """A JCAMP-DX file in the form (X++(Y..Y)); `body` replaces the lines of values."""
    rows = body or [
        " ".join([f"{axis[at]:.4f}", *(f"{value:.6g}" for value in values[at : at + 5] / factor)])
        for at in range(0, len(axis), 5)
    ]
    lines = [f"##TITLE={title}", "##JCAMP-DX=4.24", "##DATA TYPE=INFRARED SPECTRUM", f"##XUNITS={x_unit}"]
    lines += [f"##YUNITS={y_unit}", "##XFACTOR=1", f"##YFACTOR={factor}", f"##FIRSTX={axis[0]}", f"##LASTX={axis[-1]}"]
    lines += [f"##NPOINTS={len(axis)}", "##XYDATA=(X++(Y..Y))", *rows, "##END="]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def dpt(path, axis, values, separator=",", comma=False):
    """Two columns without a header."""
    text = "".join(f"{x:.4f}{separator}{y:.5f}\n" for x, y in zip(axis, values, strict=True))
    path.write_text(text.replace(".", ",") if comma else text, encoding="utf-8")
    return path


def xlsx(path, rows, before=()):
    """A workbook with the sheets `before` (name, rows), then the sheet `scans`."""
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, content in (*before, ("scans", rows)):
        sheet = workbook.create_sheet(name)
        for row in content:
            sheet.append(row)
    workbook.save(path)
    return path
