"""`benchmarks.keep_or_send`: splits keep samples whole, and the figures equal those counted by hand."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.keep_or_send import band_coverage, split_rows, summary
from relple_tf.spectra.library import SpectralLibrary


def test_no_split_divides_a_sample():
    rng = np.random.default_rng(0)
    nm = np.arange(1000.0, 1100.0, 10.0)
    soils = SpectralLibrary.from_arrays(
        0.4 + 0.1 * rng.random((60, len(nm))),
        {"pH": rng.uniform(4, 8, 60)},
        wavelengths_nm=nm,
        sample_ids=[f"s{row // 2}" for row in range(60)],
    )
    for seed in range(5):
        library, parts = split_rows(soils, seed)
        assert (parts == "test").sum() == 12
        tested = set(library.sample_labels[parts == "test"])
        assert not tested & set(library.sample_labels[parts == "train"])


def test_figures_equal_those_counted_by_hand():
    """Two splits of four scans; half widths 1, 2, 3 and 4, the last outside."""
    errors = {0: [0.5, -1.5, 3.5, 9.0], 1: [-0.5, 2.5, np.nan, 0.0]}
    status = ["ok", "ok", "ok", "outside"]
    table = pd.concat(
        pd.DataFrame({"seed": seed, "target": "pH", "half_width": [1.0, 2.0, 3.0, 4.0], "error": e, "status": status})
        for seed, e in errors.items()
    )
    rows = summary(table).set_index("need")
    assert rows.index.tolist() == [1.0, 2.0, 3.0]
    assert rows["kept"].tolist() == [0.25, 0.5, 0.75]
    assert rows["n"].tolist() == [2, 4, 5]
    assert rows["within need"].tolist() == pytest.approx([1, 3 / 4, 4 / 5])
    assert rows["worst split"].tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    assert rows["splits below"].tolist() == [0, 1, 1]
    assert rows["band"].tolist() == pytest.approx([1, 1 / 2, 0])
    assert band_coverage(table, 0.0, 3.0) == pytest.approx(3 / 5)
