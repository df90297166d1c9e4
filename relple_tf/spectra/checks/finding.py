"""The result of a check: refuse the source, drop rows by name, or warn."""

from collections.abc import Iterable
from dataclasses import dataclass

from relple_tf.errors import InputError

SEVERITIES = ("refuse", "drop", "warn")
"""`refuse`: the values cannot be right; `drop`: some scans cannot be soils; `warn`: the values are doubtful."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A result of a check; a check that finds nothing returns none."""

    check: str
    """Name of the check, such as `repeated_code`."""
    severity: str
    """One of SEVERITIES."""
    message: str
    """What was expected, what was received (rows and columns by name) and how to fix it, on one line."""
    rows: tuple[int, ...] = ()
    """Rows of the source, from 0; required for `drop`."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """A check that ran on a source that was read, and what it found."""

    name: str
    """What the check searches for, such as `runs of exact zeros`."""
    findings: tuple[Finding, ...] = ()
    """Its findings that drop rows or warn."""
    decision: str = ""
    """What a check decided and why, such as the quantity."""

    @property
    def result(self) -> str:
        """`passed`, or the number of warnings and of dropped rows."""
        dropped = len({row for finding in self.findings if finding.severity == "drop" for row in finding.rows})
        warned = len(warnings(self.findings))
        counts = (f"{dropped} dropped" * bool(dropped), f"{warned} warning{'s' * (warned > 1)}" * bool(warned))
        return ", ".join(filter(None, counts)) or "passed"


def refuse(source: str, findings: Iterable[Finding]) -> None:
    """Raise for the first finding that refuses the source.

    Raises:
        InputError: a finding has severity `refuse`.
    """
    for finding in findings:
        if finding.severity == "refuse":
            raise InputError(f"{source}: {finding.message}")


def warnings(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Messages of the findings that warn."""
    return tuple(finding.message for finding in findings if finding.severity == "warn")
