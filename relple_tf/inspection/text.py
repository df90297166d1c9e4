"""The inspection as plain text for a terminal."""

from collections.abc import Iterable

from relple_tf.inspection.facts import STATISTICS, WITHOUT_VALUES, Inspection, table_lines


def inspection_text(inspection: Inspection) -> str:
    """The facts, targets, checks, notes and doubts, and the command to train."""
    library = inspection.library
    width = max(map(len, inspection.facts))
    sections = {"": [f"{name.ljust(width)}  {fact}" for name, fact in inspection.facts.items()]}
    if inspection.no_values:
        sections["Targets"] = [f"none: {inspection.no_values}"]
    else:
        rows = [(name, *texts) for name, texts in inspection.target_texts.items()]
        sections["Targets"] = table_lines(("target", "unit", *STATISTICS), rows)
    if len(library.targets) > 1:
        sections["Pearson correlation of the targets"] = _correlation_lines(inspection)
    if library.checks:
        longest = max(len(check.name) for check in library.checks)
        sections["Checks"] = [f"{check.name.ljust(longest)}  {check.result}" for check in library.checks]
    sections["Notes of the reader"] = list(library.notes)
    if inspection.distances is not None:
        heading = (
            "Farthest scans (robust distance in the scores of "
            f"{inspection.distances.components} principal components, about 1 for a typical scan; not errors)"
        )
        sections[heading] = [
            f"{distance:.1f}  {library.row_name(row)}" for row, distance in inspection.farthest.items()
        ]
    sections["Check the data"] = inspection.doubts
    sections["Train"] = [inspection.command or WITHOUT_VALUES]
    return "\n\n".join(_section(heading, lines) for heading, lines in sections.items() if lines) + "\n"


def _correlation_lines(inspection: Inspection) -> list[str]:
    """The lower half of the matrix."""
    table = inspection.correlations
    rows = [
        (name, *(f"{value:z.2f}" if column <= row else "" for column, value in enumerate(table.iloc[row])))
        for row, name in enumerate(table.index)
    ]
    return table_lines(("", *table.columns), rows)


def _section(heading: str, lines: Iterable[str]) -> str:
    # Without indentation, so that a command can be copied as a line.
    return "\n".join(([heading + ":"] if heading else []) + list(lines))
