"""Run a search: split, trials, table, page."""

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
from tuning.folder import BEST, JOURNAL, PAGE, PLAN, REMEDY, TABLE, SearchPlan, claim
from tuning.objective import development_set
from tuning.oracles import Oracle
from tuning.report import search_report
from tuning.result import SearchResult, table
from tuning.size import size
from tuning.trials import Search


def run_search(
    plan: SearchPlan, folder: RunFolder, executor: Callable[[Any, float], Executor], *, notify: Callable[[str], None]
) -> SearchResult:
    """Run a search and write its files to `folder`; an interrupted search in the folder is continued.

    Args:
        plan: Config, space, algorithm and budget.
        folder: From `open_run`.
        executor: (data of all trials, limit of a trial in seconds) -> executor.
        notify: Receives the decisions and one line per finished trial.

    Raises:
        InputError: the library cannot be divided, the folder holds another search, no config fits the budget, or all
            trials failed.
    """
    library = load(plan.base)
    data, spec, notes = development_set(library, plan.space.start, plan.space.rules)
    notes = (*notes, *plan.space.notes)
    for note in notes:
        notify(note)

    @functools.lru_cache(maxsize=512)
    def sizes(config: Config) -> dict[str, int]:
        return dataclasses.asdict(size(config, spec, data.library.wavelengths_nm, len(data.library)))

    def fits(config: Config) -> bool:
        try:
            return plan.allows(sizes(config))
        except InputError:  # the draw does not suit the library, such as a derivative window wider than its spectra
            return False

    if not folder.resumed:
        folder.begin(plan.base)
    library_sha256 = data_hash(data.library)
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
        save=lambda events: write_json(folder.path / JOURNAL, events),
        notify=notify,
    )
    with readable(folder.path / JOURNAL, REMEDY):
        search.resume(journal)
    notify(
        f"{len(data.library)} soils in the development set x {len(library.wavelengths_nm)} bands; {plan.trials} "
        f"trials by {plan.algorithm} search over {len(plan.space.parameters)} fields; "
        f"{len(search.ended())} done; {folder.path}"
    )
    search.run(executor(data, plan.space.rules.limit_s))
    best = search.best()
    if best is None:
        reason = next((trial.message for trial in search.ended() if trial.message), "its size is over the budget")
        raise InputError(f"{folder.path}: all trials failed or are over the budget; the first failure: {reason}")
    result = SearchResult(
        plan=plan,
        trials=tuple(search.ended()),
        best=best,
        rejected=search.oracle.rejected,
        source=library.source,
        soils=len(data.library),
        bands=len(library.wavelengths_nm),
        notes=notes,
        data_sha256=library_sha256,
    )
    write_result(result, folder)
    return result


def write_result(result: SearchResult, folder: RunFolder) -> None:
    """Write best config, table and page; the manifest last."""
    path = folder.path
    write_text(path / BEST, to_toml(result.best.config))
    write_table(path / TABLE, table(result))
    write_text(path / PAGE, search_report(result))
    write_manifest(path, (CONFIG, PLAN, JOURNAL, BEST, TABLE, PAGE))


def best_trials_text(result: SearchResult) -> str:
    """Table of the five best trials and trial 0, for the terminal."""
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
    heading = (
        f"{result.source}: cross-validated within the development set; the five best trials and trial 0, the preset"
    )
    return f"{heading}\n{rows.to_string(index=False)}"
