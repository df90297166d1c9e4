"""A search from its plan to its folder: split, trials, tables, page."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pandas as pd

from relple_tf.artefacts.reading import readable
from relple_tf.atomic_files import write_table, write_text
from relple_tf.config import Config
from relple_tf.config_text import to_toml
from relple_tf.errors import InputError
from relple_tf.runs.folder import CONFIG, RunFolder, data_hash, write_json, write_manifest
from relple_tf.spectra.sources.named import load
from tuning.executors import Executor
from tuning.folder import BEST, JOURNAL, PAGE, PLAN, TABLE, WAY_OUT, SearchPlan, claim
from tuning.objective import development_set
from tuning.oracles import Oracle
from tuning.report import search_report
from tuning.result import SearchResult, table
from tuning.size import size
from tuning.trials import Search


def run_search(
    plan: SearchPlan, folder: RunFolder, executor: Callable[[Any, float], Executor], *, notify: Callable[[str], None]
) -> SearchResult:
    """Search, and fill `folder`; goes on with what a search that was cut off left there.

    Args:
        plan: What is searched.
        folder: From `open_run`.
        executor: (what trials share, their limit in seconds) -> what runs them.
        notify: Told what was decided, and how each trial ended.

    Raises:
        InputError: the library cannot be divided, the folder is another search's, nothing fits the budget, or no
            trial came to an end.
    """
    library = load(plan.base)
    soils, spec, notes = development_set(library, plan.space.start, plan.space.rules)
    notes = (*notes, *plan.space.notes)
    for note in notes:
        notify(note)

    @functools.lru_cache(maxsize=512)
    def sizes(config: Config) -> dict[str, int]:
        return dataclasses.asdict(size(config, spec, soils.library.wavelengths_nm, len(soils.library)))

    def fits(config: Config) -> bool:
        try:
            return plan.allows(sizes(config))
        except InputError:  # this library cannot bear the draw, such as a window wider than its bands
            return False

    if not folder.resumed:
        folder.begin(plan.base)
    library_sha256 = data_hash(soils.library)
    journal = claim(folder, plan, library_sha256)
    search = Search(
        Oracle(
            plan.algorithm,
            plan.space,
            trials=plan.trials,
            seed=plan.base.training.seed,
            fits=fits,
        ),
        plan.space,
        trials=plan.trials,
        size=sizes,
        allowed=plan.allows,
        keep=lambda events: write_json(folder.path / JOURNAL, events),
        notify=notify,
    )
    with readable(folder.path / JOURNAL, WAY_OUT):
        search.resume(journal)
    notify(
        f"{len(soils.library)} soils to learn from x {len(library.wavelengths_nm)} bands; {plan.trials} trials by "
        f"{plan.algorithm} over {len(plan.space.parameters)} fields; {len(search.done())} done; {folder.path}"
    )
    search.run(executor(soils, plan.space.rules.limit_s))
    best = search.best()
    if best is None:
        why = next((trial.message for trial in search.done() if trial.message), "none keeps within the budget")
        raise InputError(f"{folder.path}: no trial gives a model that may be used; the first one: {why}")
    result = SearchResult(
        plan=plan,
        trials=tuple(search.done()),
        best=best,
        rejected=search.oracle.rejected,
        source=library.source,
        soils=len(soils.library),
        bands=len(library.wavelengths_nm),
        notes=notes,
        data_sha256=library_sha256,
    )
    write_result(result, folder)
    return result


def write_result(result: SearchResult, folder: RunFolder) -> None:
    """Write best config, table and page, the manifest last."""
    path = folder.path
    write_text(path / BEST, to_toml(result.best.config))
    write_table(path / TABLE, table(result))
    write_text(path / PAGE, search_report(result))
    write_manifest(path, (CONFIG, PLAN, JOURNAL, BEST, TABLE, PAGE))


def trials_table(result: SearchResult) -> str:
    """Trial 0 and the five best, for the screen."""
    rows = pd.DataFrame(
        [
            {
                "trial": trial.number,
                "R2": f"{trial.score:.3f}",
                **{f"R2 {target}": f"{value:.3f}" for target, value in trial.r2.items()},
                "weights": f"{trial.size['weights']:,}",
                "flash (est.)": f"{trial.size['flash_bytes'] / 1024:.0f} KiB",
                "arena (est.)": f"{trial.size['arena_bytes'] / 1024:.0f} KiB",
                "s": f"{trial.seconds:.0f}",
            }
            for trial in result.shown()
        ]
    )
    heading = f"{result.source}: cross-validated inside the soils to learn from; the five best, and trial 0, the preset"
    return f"{heading}\n{rows.to_string(index=False)}"
