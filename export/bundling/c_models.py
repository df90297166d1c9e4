"""The C models in the card of a bundle, and their part of card.md."""

from collections.abc import Mapping
from typing import Any

CModels = dict[str, dict[str, Any]]


def c_models(card: Mapping[str, Any]) -> CModels:
    """C recipe -> its entry in the card; empty without C recipes."""
    models: CModels = card["c"]["models"] if "c" in card else {}
    return models


def c_markdown(card: Mapping[str, Any]) -> list[str]:
    """Paragraphs of card.md about the C models; empty without C recipes."""
    models = c_models(card)
    if not models:
        return []
    targets = list(card["targets"])
    head = ("model", "folder", "tables", "work buffer", *(f"R2 {target}" for target in targets), "error, SD")
    rows = [
        (
            name,
            facts["folder"],
            f"{facts['table_bytes']:,}",
            f"{facts['work_bytes']:,}",
            *(f"{facts['test']['targets'][target]['r2']:.3f}" for target in targets),
            f"{max(facts['largest_error_sd'].values()):.2g}",
        )
        for name, facts in models.items()
    ]
    first = next(iter(models.values()))
    prefix = card["c"]["prefix"]
    other = sum(facts["test"]["other_status"] for facts in models.values())
    return [
        "## C99",
        rows_of(head, rows),
        "Sizes in bytes. Error: the largest difference from Keras of a test scan, in SDs of the test values. Verified "
        f"with {first['verified_with']}; {other} test scans have another status than in Keras. "
        f"`{prefix}_estimate` of `{prefix}_model.h` runs a scan, without another library. In `c/`, "
        "`make host && ./selftest` runs the golden scans.",
        *_firmware(models),
    ]


def _firmware(models: CModels) -> list[str]:
    """Table of the smallest firmware on each core, or the reason for which there is none."""
    measured = {name: facts["cortex_m"] for name, facts in models.items()}
    first = next(iter(measured.values()))
    if "not_measured" in first:
        return [f"Not measured on Cortex-M: {first['not_measured']}."]
    rows = [
        (
            name,
            core,
            *(f"{figures[f'{kind}_bytes']:,}" for kind in ("flash", "ram", "stack")),
            *(f"{count:,}" for count in figures["instructions"].values()),
        )
        for name, facts in measured.items()
        for core, figures in facts["cores"].items()
    ]
    parts = next(iter(first["cores"].values()))["instructions"]
    head = ("model", "core", "flash", "RAM", "stack", *(part.replace("_", " ") for part in parts))
    return [
        rows_of(head, rows),
        "Flash and RAM in bytes of the whole smallest firmware: C library, a scan, work buffer and stack included. The "
        f"other columns are instructions of one estimate, counted by {first['simulator']}; they are not cycles. "
        f"Compiled by {first['compiler']} with `{first['flags']}`.",
    ]


def rows_of(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Format a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))
