"""The list of instrument formats, and the reader that recognises them by the first bytes of a file."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from relple_tf.config import LimitsConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.excel_file import is_excel, read_excel
from relple_tf.spectra.readers.instruments import (
    asd,
    jcamp_dx,
    not_read,
    opus,
    spc,
    spectral_evolution,
    svc,
    two_columns,
)
from relple_tf.spectra.readers.instruments.spectrum import damaged
from relple_tf.spectra.readers.table_file import ScanTable

_HEAD_BYTES = 4096
LARGEST_BYTES = 256_000_000
"""Limit for a file that is read as a whole; a file of one scan has less than 1 MB."""


@dataclass(frozen=True, kw_only=True)
class InstrumentFormat:
    """A format that `read_instrument` recognises."""

    name: str
    recognises: Callable[[bytes, str], bool]
    """(first bytes, extension in lower case) -> whether the file has this format."""
    read: Callable[[Path, LimitsConfig], ScanTable]


def _refuse(path: Path, _: LimitsConfig) -> ScanTable:
    raise not_read.refuse_by_name(path)


FORMATS = (
    InstrumentFormat(
        name=opus.FORM,
        recognises=lambda head, _: head.startswith(opus.OPUS),
        read=lambda path, _: opus.read_opus(path),
    ),
    InstrumentFormat(name=asd.FORM, recognises=asd.is_asd, read=asd.read_asd),
    InstrumentFormat(name=svc.FORM, recognises=lambda head, _: head.startswith(svc.SVC), read=svc.read_svc),
    InstrumentFormat(
        name=spectral_evolution.FORM,
        recognises=spectral_evolution.is_spectral_evolution,
        read=spectral_evolution.read_spectral_evolution,
    ),
    InstrumentFormat(name=jcamp_dx.FORM, recognises=jcamp_dx.is_jcamp, read=jcamp_dx.read_jcamp),
    InstrumentFormat(name="Excel", recognises=is_excel, read=read_excel),
    InstrumentFormat(name="not read", recognises=not_read.is_not_read, read=_refuse),
    # Two bytes recognise SPC, and a text needs none: the formats with a longer signature come first.
    InstrumentFormat(name=spc.FORM, recognises=spc.is_spc, read=spc.read_spc),
    InstrumentFormat(name=two_columns.FORM, recognises=two_columns.is_two_columns, read=two_columns.read_two_columns),
)
"""The first format that recognises a file reads it."""


def instrument_format(path: Path) -> InstrumentFormat | None:
    """The format of a file; None for CSV, Parquet and unknown files."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    suffix = path.suffix.lower()
    return next((form for form in FORMATS if form.recognises(head, suffix)), None)


def read_instrument(path: Path, limits: LimitsConfig) -> ScanTable | None:
    """Read a file that an instrument or its software wrote; None for CSV, Parquet and unknown files.

    Raises:
        InputError: the file is damaged, larger than the limits, of a format that is not read, or contains no
            near-infrared absorbance or reflectance.
    """
    form = instrument_format(path)
    if form is None:
        return None
    if form.name != "Excel" and (size := path.stat().st_size) > LARGEST_BYTES:
        raise InputError(f"{path}: {size:,} bytes, more than {LARGEST_BYTES:,} for a {form.name} file; divide it")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return form.read(path, limits)
    except (InputError, OSError):
        raise
    except Exception as error:  # the libraries and the parsers raise many types for a damaged file
        raise damaged(path, form.name, f"{type(error).__name__}: {error}".splitlines()[0]) from None
