"""The page of a search, in the manner of the other pages: no scripts, no date, the same bytes for the same results.

The text stands in `search.html`; here it gets its figures.
"""

from html import escape
from importlib import resources
from string import Template

import numpy as np

from relple_tf.config_text import to_toml
from relple_tf.evaluation.result import source_name
from relple_tf.report.page import items
from relple_tf.runs.card import versions
from tuning import plots as pictures
from tuning.oracles import EPOCHS, encoded
from tuning.result import FEWEST, SearchResult, front, importance, positions
from tuning.space import Parameter, is_active, value_of
from tuning.trials import Trial

COLUMNS = 8
"""Fields of the parallel coordinates: those that count most."""
BARS = 12
"""Fields whose importance is drawn, the most important first."""
COSTS = {
    "flash_bytes": ("flash, KiB (estimate)", 1024, "max_flash"),
    "arena_bytes": ("working memory, KiB (estimate)", 1024, "max_arena"),
    "operations": ("multiplications per scan, thousands", 1000, ""),
}
"""Of Size -> axis, divisor, limit in SearchPlan."""


def search_report(result: SearchResult) -> str:
    """The page, complete in itself."""
    plan, rules = result.plan, result.plan.space.rules
    shown = result.shown()
    lost, oob = importance(result)
    return Template(resources.files("tuning").joinpath("search.html").read_text("utf-8")).substitute(
        title=escape(f"Search on {source_name(plan.base)}"),
        style=resources.files("relple_tf.report").joinpath("page.css").read_text("utf-8"),
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in terms(result).items()),
        notes=items(escape(note) for note in result.notes or ("nothing",)),
        words=items(escape(line) for line in words(result)),
        folds=rules.folds,
        repeats=f", drawn {rules.repeats} times" if rules.repeats > 1 else "",
        progress=progress(result),
        heads="".join(f"<th>{head(trial)}</th>" for trial in shown),
        figures=figure_rows(shown),
        fields="\n".join(field_row(parameter, shown, plan.space.start) for parameter in plan.space.parameters),
        important=pictures.bars(lost.head(BARS)) if len(lost) else "",
        importance_words=importance_words(result, oob),
        parallel=parallel(result, list(lost.index)),
        pareto="\n".join(pareto(result, name) for name in COSTS),
        failed=failures(result),
        versions=", ".join(
            f"{name} {number}"
            for name, number in versions(("keras-tuner", "keras", "tensorflow", "scikit-learn")).items()
        ),
        data_hash=result.data_sha256[:16],
        config=escape(to_toml(result.best.config)),
    )


def terms(result: SearchResult) -> dict[str, str]:
    """What was searched, how."""
    plan = result.plan
    limits = [
        f"{name} {limit:,} bytes" for name, limit in (("flash", plan.max_flash), ("arena", plan.max_arena)) if limit
    ]
    failed = len(result.trials) - len(result.scored)
    facts = {
        "Source": result.source,
        "Soils": f"{result.soils} to learn from, {result.bands} bands",
        "Trial 0": plan.base.preset,
        "Searched": f"{len(plan.space.parameters)} fields by {plan.algorithm}, seed {plan.base.training.seed}",
        "Trials": f"{len(result.trials)}, {failed} of them failed",
    }
    if limits:
        facts["Budget"] = f"{', '.join(limits)}; {result.rejected} draws were over it and not trained"
    return facts


def words(result: SearchResult) -> list[str]:
    """What the search found, in sentences."""
    best = result.best
    start = next((trial for trial in result.scored if trial.number == 0), None)
    found = []
    if start is None:
        found.append(f"trial {best.number} has the highest score, {best.score:.3f}; trial 0 failed")
    elif best is start:
        found.append(f"no trial is better than trial 0, {start.score:.3f}: keep the preset")
    else:
        found.append(f"trial {best.number} has the highest score, {best.score:.3f}; trial 0 has {start.score:.3f}")
        per_target = ", ".join(f"{name} {value:.3f} ({value - start.r2[name]:+.3f})" for name, value in best.r2.items())
        found.append(f"its R² by target, and how far it lies from trial 0's: {per_target}")
    if start is not None and not result.plan.allows(start.size):
        found.append("trial 0 is over the budget by estimate; it was trained for comparison and could not win")
    if len({trial.config.training.max_epochs for trial in result.scored}) > 1:
        epochs = best.config.training.max_epochs
        found.append(f"the best was trained for {epochs} epochs, and its config says so")
        if start is not None and start.config.training.max_epochs != epochs:
            found.append(
                f"trial 0 was trained for {start.config.training.max_epochs} epochs, so the two do not compare"
            )
    return found


def head(trial: Trial) -> str:
    """Its number, and what is special about it."""
    return f"{trial.number}<br>preset" if trial.number == 0 else str(trial.number)


def figure_rows(shown: list[Trial]) -> str:
    """Score, R2 by target, sizes and time."""
    rows = {"score": [f"<strong>{trial.score:.3f}</strong>" for trial in shown]}
    for target in shown[0].r2:
        rows[f"R² {escape(target)}"] = [f"{trial.r2[target]:.3f}" for trial in shown]
    rows["epochs"] = [str(trial.values.get(EPOCHS, trial.config.training.max_epochs)) for trial in shown]
    rows["weights"] = [f"{trial.size['weights']:,}" for trial in shown]
    rows["flash, KiB"] = [f"{trial.size['flash_bytes'] / 1024:.0f}" for trial in shown]
    rows["arena, KiB"] = [f"{trial.size['arena_bytes'] / 1024:.0f}" for trial in shown]
    rows["multiplications, thousands"] = [f"{trial.size['operations'] / 1000:,.0f}" for trial in shown]
    rows["seconds of trial"] = [f"{trial.seconds:.0f}" for trial in shown]
    return "\n".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows.items()
    )


def field_row(parameter: Parameter, shown: list[Trial], start: object) -> str:
    """One field over the trials."""
    cells = []
    for trial in shown:
        value = value_of(trial.config, parameter.field)
        own = value_of(start, parameter.field)  # type: ignore[arg-type]
        if not is_active(parameter, trial.config):
            cells.append('<td class="same">·</td>')
        elif value == own:
            cells.append(f'<td class="same">{_shown(value)}</td>')
        else:
            cells.append(f"<td><strong>{_shown(value)}</strong></td>")
    return f"<tr><th>{escape(parameter.field)}</th>{''.join(cells)}</tr>"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple):
        parts = [part.replace("+", "+<br>") if isinstance(part, str) else str(part) for part in value]
        return (",<br>" if isinstance(value[0], str) else ",").join(parts)
    return escape(str(value))


def progress(result: SearchResult) -> str:
    """Score over trials and over time."""
    scored = result.scored
    failed = [trial for trial in result.trials if trial.state != "done"]
    scores = np.array([trial.score for trial in scored])
    most = result.plan.space.start.training.max_epochs
    whole = np.array([trial.config.training.max_epochs == most for trial in scored])
    drawn = []
    for axis, place in (
        ("trial", lambda trial: float(trial.number)),
        ("minutes", lambda trial: trial.ended_s / 60),
    ):
        x, lost = np.array([place(trial) for trial in scored]), np.array([place(trial) for trial in failed])
        drawn.append(pictures.progress(x, scores, whole, lost, axis=axis))
    return "\n".join(drawn)


def importance_words(result: SearchResult, oob: float) -> str:
    """How far the picture above may be believed."""
    if np.isnan(oob):
        return f"Fewer than {FEWEST} trials came to an end: too few to tell what the score depends on."
    rule = (
        "Permutation importance of a random forest that predicts the score from the fields (Breiman 2001, Machine "
        f"Learning 45, 5-32). Out of bag, its R² is {oob:.2f}: "
    )
    if oob < 0.1:
        return rule + "it predicts no trial that it has not seen, so <strong>the order above means nothing</strong>."
    return rule + "so much of the differences between trials is explained by the fields, the rest is luck."


def parallel(result: SearchResult, order: list[str]) -> str:
    """Parallel coordinates of the fields that count most, or of the first ones."""
    names, places = positions(result)
    chosen = [names.index(name) for name in (order or names)[:COLUMNS]]
    parameters = {parameter.field: parameter for parameter in result.plan.space.parameters}
    ends = []
    for name in (names[place] for place in chosen):
        if name not in parameters:
            most = max(trial.config.training.max_epochs for trial in result.scored)
            ends.append(("0", str(most)))
            continue
        parameter = parameters[name]
        low, high = (
            (parameter.options[0], parameter.options[-1]) if parameter.options else (parameter.low, parameter.high)
        )
        ends.append((str(encoded(low)), str(encoded(high))))
    scores = np.array([trial.score for trial in result.scored])
    return pictures.parallel([names[place] for place in chosen], places[:, chosen], scores, ends)


def pareto(result: SearchResult, name: str) -> str:
    """The front of score against one of COSTS."""
    axis, divisor, limit_name = COSTS[name]
    costs = np.array([trial.size[name] / divisor for trial in result.scored])
    scores = np.array([trial.score for trial in result.scored])
    limit = getattr(result.plan, limit_name) if limit_name else None
    scaled = None if limit is None else limit / divisor
    return pictures.pareto(costs, scores, front(costs, scores), axis=axis, limit=scaled)


def failures(result: SearchResult) -> str:
    """Trials that failed, and why."""
    failed = [trial for trial in result.trials if trial.state != "done"]
    if not failed:
        return ""
    lines = items(f"trial {trial.number}: {escape(trial.message)}" for trial in failed)
    return f"\n<h2>Failed</h2>\n<ul>\n{lines}\n</ul>\n"
