"""The page of a search. Like the other pages it has no scripts and no date: equal results give equal bytes.

The template is `search.html`; this module fills in its values.
"""

from html import escape
from importlib import resources
from string import Template

import numpy as np

from relple_tf.config_text import to_toml
from relple_tf.evaluation.result import source_name
from relple_tf.report.page import items
from relple_tf.runs.card import versions
from tuning import plots
from tuning.oracles import EPOCHS, encoded
from tuning.result import MIN_TRIALS, SearchResult, front, importance, scaled_values
from tuning.space import Parameter, is_active, value_of
from tuning.trials import Trial

COLUMNS = 8
"""Number of fields in the parallel coordinates, the most important first."""
BARS = 12
"""Number of fields in the importance plot, the most important first."""
COSTS = {
    "flash_bytes": ("flash, KiB (estimate)", 1024, "max_flash"),
    "arena_bytes": ("working memory, KiB (estimate)", 1024, "max_arena"),
    "operations": ("multiplications per scan, thousands", 1000, ""),
}
"""Field of Size -> axis label, divisor, field of SearchPlan that holds its limit."""


def search_report(result: SearchResult) -> str:
    """Make the page as one self-contained HTML text."""
    plan, rules = result.plan, result.plan.space.rules
    shown = result.shown()
    losses, oob_r2 = importance(result)
    return Template(resources.files("tuning").joinpath("search.html").read_text("utf-8")).substitute(
        title=escape(f"Search on {source_name(plan.base)}"),
        style=resources.files("relple_tf.report").joinpath("page.css").read_text("utf-8"),
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts(result).items()),
        notes=items(escape(note) for note in result.notes or ("none",)),
        summary=items(escape(sentence) for sentence in summary(result)),
        folds=rules.folds,
        repeats=f", {rules.repeats} repeats" if rules.repeats > 1 else "",
        progress=progress(result),
        headings="".join(f"<th>{heading(trial)}</th>" for trial in shown),
        figures=figure_rows(shown),
        fields="\n".join(field_row(parameter, shown, plan.space.start) for parameter in plan.space.parameters),
        importance=plots.importance_bars(losses.head(BARS)) if len(losses) else "",
        importance_caption=importance_caption(result, oob_r2),
        parallel=parallel(result, list(losses.index)),
        pareto="\n".join(pareto(result, name) for name in COSTS),
        failed=failures(result),
        versions=", ".join(
            f"{name} {number}"
            for name, number in versions(("keras-tuner", "keras", "tensorflow", "scikit-learn")).items()
        ),
        data_hash=result.data_sha256[:16],
        config=escape(to_toml(result.best.config)),
    )


def facts(result: SearchResult) -> dict[str, str]:
    """Data, space and algorithm of the search."""
    plan = result.plan
    limits = [
        f"{name} {limit:,} bytes" for name, limit in (("flash", plan.max_flash), ("arena", plan.max_arena)) if limit
    ]
    failed = len(result.trials) - len(result.scored)
    entries = {
        "Source": result.source,
        "Soils": f"{result.soils} in the development set, {result.bands} bands",
        "Trial 0": plan.base.preset,
        "Space": f"{len(plan.space.parameters)} fields; {plan.algorithm} search, seed {plan.base.training.seed}",
        "Trials": f"{len(result.trials)}, {failed} of them failed",
    }
    if limits:
        entries["Budget"] = f"{', '.join(limits)}; {result.rejected} draws were over the budget and not trained"
    return entries


def summary(result: SearchResult) -> list[str]:
    """Best trial and its comparison with trial 0, in sentences."""
    best = result.best
    start = next((trial for trial in result.scored if trial.number == 0), None)
    sentences = []
    if start is None:
        sentences.append(f"trial {best.number} has the highest score, {best.score:.3f}; trial 0 failed")
    elif best is start:
        sentences.append(f"no trial is better than trial 0 ({start.score:.3f}): keep the preset")
    else:
        sentences.append(f"trial {best.number} has the highest score, {best.score:.3f}; trial 0 has {start.score:.3f}")
        per_target = ", ".join(f"{name} {value:.3f} ({value - start.r2[name]:+.3f})" for name, value in best.r2.items())
        sentences.append(f"R² by target, with the difference from trial 0: {per_target}")
    if start is not None and not result.plan.allows(start.size):
        sentences.append("the estimated size of trial 0 is over the budget; it was trained for comparison only")
    if len({trial.config.training.max_epochs for trial in result.scored}) > 1:
        epochs = best.config.training.max_epochs
        sentences.append(f"the best trial was trained for {epochs} epochs; `max_epochs` in its config has this value")
        if start is not None and start.config.training.max_epochs != epochs:
            sentences.append(
                f"trial 0 was trained for {start.config.training.max_epochs} epochs, so the scores are not comparable"
            )
    return sentences


def heading(trial: Trial) -> str:
    """Number of the trial; trial 0 is marked as the preset."""
    return f"{trial.number}<br>preset" if trial.number == 0 else str(trial.number)


def figure_rows(shown: list[Trial]) -> str:
    """Table rows: score, R2 by target, sizes and time."""
    rows = {"score": [f"<strong>{trial.score:.3f}</strong>" for trial in shown]}
    for target in shown[0].r2:
        rows[f"R² {escape(target)}"] = [f"{trial.r2[target]:.3f}" for trial in shown]
    rows["epochs"] = [str(trial.values.get(EPOCHS, trial.config.training.max_epochs)) for trial in shown]
    rows["weights"] = [f"{trial.size['weights']:,}" for trial in shown]
    rows["flash, KiB"] = [f"{trial.size['flash_bytes'] / 1024:.0f}" for trial in shown]
    rows["arena, KiB"] = [f"{trial.size['arena_bytes'] / 1024:.0f}" for trial in shown]
    rows["multiplications, thousands"] = [f"{trial.size['operations'] / 1000:,.0f}" for trial in shown]
    rows["seconds"] = [f"{trial.seconds:.0f}" for trial in shown]
    return "\n".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows.items()
    )


def field_row(parameter: Parameter, shown: list[Trial], start: object) -> str:
    """Table row: the value of one field in each trial."""
    cells = []
    for trial in shown:
        value = value_of(trial.config, parameter.field)
        default = value_of(start, parameter.field)  # type: ignore[arg-type]
        if not is_active(parameter, trial.config):
            cells.append('<td class="same">·</td>')
        elif value == default:
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
    """Plots of the score over trials and over time."""
    scored = result.scored
    failed = [trial for trial in result.trials if trial.state != "done"]
    scores = np.array([trial.score for trial in scored])
    most = result.plan.space.start.training.max_epochs
    full_epochs = np.array([trial.config.training.max_epochs == most for trial in scored])
    images = []
    for axis, position in (
        ("trial", lambda trial: float(trial.number)),
        ("minutes", lambda trial: trial.ended_s / 60),
    ):
        x, x_failed = np.array([position(trial) for trial in scored]), np.array([position(trial) for trial in failed])
        images.append(plots.progress(x, scores, full_epochs, x_failed, axis=axis))
    return "\n".join(images)


def importance_caption(result: SearchResult, oob_r2: float) -> str:
    """Caption of the importance plot: method and reliability."""
    if np.isnan(oob_r2):
        return f"Fewer than {MIN_TRIALS} trials have a score: too few for the importance of the fields."
    rule = (
        "Permutation importance of a random forest that predicts the score from the fields (Breiman 2001, Machine "
        f"Learning 45, 5-32). Its out-of-bag R² is {oob_r2:.2f}: "
    )
    if oob_r2 < 0.1:
        return rule + "it does not predict unseen trials, so <strong>the order above means nothing</strong>."
    return rule + "the fields explain this fraction of the variance between trials, the rest is chance."


def parallel(result: SearchResult, order: list[str]) -> str:
    """Parallel coordinates of the most important fields; of the first fields where no importance is known."""
    names, values = scaled_values(result)
    chosen = [names.index(name) for name in (order or names)[:COLUMNS]]
    parameters = {parameter.field: parameter for parameter in result.plan.space.parameters}
    ends = []
    for name in (names[column] for column in chosen):
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
    return plots.parallel([names[column] for column in chosen], values[:, chosen], scores, ends)


def pareto(result: SearchResult, name: str) -> str:
    """Pareto front of score against one of COSTS."""
    axis, divisor, limit_name = COSTS[name]
    costs = np.array([trial.size[name] / divisor for trial in result.scored])
    scores = np.array([trial.score for trial in result.scored])
    limit = getattr(result.plan, limit_name) if limit_name else None
    scaled = None if limit is None else limit / divisor
    return plots.pareto(costs, scores, front(costs, scores), axis=axis, limit=scaled)


def failures(result: SearchResult) -> str:
    """Section of the failed trials with their messages; empty if none failed."""
    failed = [trial for trial in result.trials if trial.state != "done"]
    if not failed:
        return ""
    lines = items(f"trial {trial.number}: {escape(trial.message)}" for trial in failed)
    return f"\n<h2>Failed</h2>\n<ul>\n{lines}\n</ul>\n"
