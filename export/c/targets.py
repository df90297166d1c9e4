"""The C99 code that every firmware needs: names, units and prediction intervals of the targets."""

from collections.abc import Mapping
from typing import Any

from export.c.source import code_file, fill, header_file, literal, macro, text_literal


def targets(facts_of: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Write the declarations and the definitions of names, units and intervals.

    Args:
        facts_of: Target -> its entry in the card, which holds unit and interval.
    """
    indices = [f"#define {macro('TARGET', name)} {index}" for index, name in enumerate(facts_of)]
    rows = []
    for name, facts in facts_of.items():
        interval = facts["interval"] or {}
        half_width = interval.get("half_width")
        columns = [
            text_literal(name),
            text_literal(facts["unit"]),
            *(str(int(interval.get(flag, False))) for flag in ("root", "non_negative")),
            literal(-1.0 if half_width is None else half_width),
            literal(interval.get("growth", 0.0)),
        ]
        rows.append("    {" + ", ".join(columns) + "}")
    declarations = fill("targets.h", count=len(facts_of), indices="\n".join(indices))
    return declarations, fill("targets.c", rows=",\n".join(rows))


def targets_files(facts_of: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """targets.h and targets.c; arguments as for `targets`."""
    declarations, definitions = targets(facts_of)
    return {"targets.h": header_file("targets.h", declarations), "targets.c": code_file("targets.h", definitions)}
