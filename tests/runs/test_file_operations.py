"""After a crash before any file operation of a training run, predict refuses or works, and the run can be resumed."""

import sys

import pytest

from benchmarks.reliability.file_operations import COMMAND, Copies, call, faults, table_of_scans
from relple_tf import predict, train

SHORT = [*COMMAND, "--set=training.cv_folds=0", "--set=training.max_epochs=2"]
EVERY = 13
"""Every thirteenth copy is resumed here; `benchmarks/reliability/file_operations.py` resumes all copies."""


@pytest.mark.slow
def test_a_crash_before_a_file_operation_loses_no_data(tmp_path):
    copies = Copies(tmp_path / "run", tmp_path / "copies")
    copies.target.mkdir()
    sys.addaudithook(copies.hook)  # an audit hook cannot be removed; it does nothing when it is not active
    copies.active = True
    code, _, error = call(train.main, *SHORT, "--out", str(copies.folder))
    copies.active = False
    assert code == 0, error
    scans = table_of_scans(tmp_path / "scans.csv")
    _, expected, _ = call(predict.main, str(copies.folder), str(scans))
    folders = sorted(copies.target.iterdir(), key=lambda copy: int(copy.name.removeprefix("copy")))
    assert len(folders) > 2 * EVERY
    assert expected.count("\n") == 1 + 12
    for copy in folders[::EVERY]:
        assert faults(copy, copies.folder, SHORT, scans, expected) == []
