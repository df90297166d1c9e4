"""From a run to a bundle: convert, verify, describe; then every file at once, or none."""

import hashlib
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from export.budget import Budget
from export.bundling.card import Card, card_of, largest_error_sd, markdown, tested, variant_facts
from export.bundling.metadata import embed
from export.bundling.stored_run import StoredRun, load
from export.c import domain as c_domain
from export.c import front_end as c_front_end
from export.c import scan as c_scan
from export.c import source as c_source
from export.c.model import model_source
from export.convert.conversion import convert, convert_front_end
from export.recipes import Recipe
from export.runtime.soil_scan import SoilScan, SoilScanError, repeat_golden
from export.verify import golden
from export.verify.verification import tolerance_exceeded, verify
from relple_tf.artefacts.outputs import check_folder
from relple_tf.atomic_files import UNFINISHED, naming, sha256, synchronise
from relple_tf.errors import InputError
from relple_tf.runs.folder import locked, write_json

LIMIT_S = 600.0
"""A conversion that takes longer is ended; with training for 8 bits it takes minutes."""

FRONT_END_FILE = "front_end.tflite"
CARD, SUMS = "card.json", "SHA256SUMS"
UNFINISHED_SUMS = f"{UNFINISHED}{SUMS}"
"""Name of SHA256SUMS until the bundle is complete: a folder without SHA256SUMS is no bundle."""
RUNTIME = Path(__file__).parents[1] / "runtime" / "soil_scan.py"


def check_out(out: Path, run_folder: Path) -> Path:
    """Check that a bundle may be written there.

    Returns:
        The folder itself where `out` is a symbolic link.

    Raises:
        InputError: something else is there, or no folder to put it in.
    """
    real = check_folder(out, (run_folder,)).absolute()
    if real.is_dir() and any(real.iterdir()):
        held = "a bundle" if (real / SUMS).exists() else "other files"
        raise InputError(f"{out}: already holds {held}; remove it or give another --out")
    if not real.parent.is_dir():
        raise InputError(f"{out}: {real.parent} is no folder; give an --out in a folder that exists")
    if real.is_dir() and real.is_mount():
        raise InputError(f"{out}: is a mount point, which nothing can be renamed onto; give a new folder inside it")
    return real


@contextmanager
def unfinished(out: Path, real: Path) -> Iterator[Path]:
    """An empty folder beside the bundle that is to be made; other exports of that bundle are kept out.

    It is removed at the end. What a killed export of the bundle left there is removed.

    Args:
        out: Named by errors of writing.
        real: From `check_out`.

    Raises:
        InputError: another export of the bundle is at work.
    """
    beside = real.with_name(f"{UNFINISHED}{real.name}")
    with naming(out, beside):
        beside.mkdir(exist_ok=True)
        with locked(beside, out):
            try:
                for left in beside.iterdir():
                    if left.is_dir() and not left.is_symlink():
                        shutil.rmtree(left)
                    else:
                        left.unlink()
                yield beside
            finally:
                shutil.rmtree(beside, ignore_errors=True)


def assemble(
    run_folder: Path,
    recipes: Sequence[Recipe],
    budget: Budget,
    out: Path,
    *,
    notify: Callable[[str], None],
    show: Callable[[Card], None],
) -> Card:
    """Make the bundle of a run.

    Args:
        run_folder: A finished run.
        recipes: What to make of it.
        budget: Of the device; a bundle has at least one variant that keeps within it.
        out: Folder of the bundle; made here.
        notify: Told what is being done.
        show: Given the card once all variants are measured, before the budget refuses them.

    Returns:
        The content of card.json.

    Raises:
        InputError: the run is damaged, a conversion failed, a recipe broke its promise, or no variant fits.
    """
    real = check_out(out, run_folder)
    trained = load(run_folder)
    with unfinished(out, real) as beside:
        card = fill(beside, trained, recipes, budget, notify=notify, show=show)
        beside.chmod(0o755)
        for file in [path for path in beside.rglob("*") if path.is_file()]:
            file.chmod(0o644)
            synchronise(file)
        (beside / UNFINISHED_SUMS).rename(beside / SUMS)
        synchronise(beside)
        check_out(out, run_folder)
        # Onto an empty folder or nothing, which is the only thing that this call allows.
        beside.rename(real)
        synchronise(real.parent)
    return card


def fill(
    folder: Path,
    trained: StoredRun,
    recipes: Sequence[Recipe],
    budget: Budget,
    *,
    notify: Callable[[str], None],
    show: Callable[[Card], None],
) -> Card:
    """Write every file of the bundle into an empty folder; arguments and result as for `assemble`."""
    front_end = c_front_end.FrontEnd.of(trained.model, trained.card)
    domain = c_domain.Domain.of(trained.model, trained.card)
    sources = c_sources(trained, front_end, domain)
    reads_features = any(recipe.reads != "scan" for recipe in recipes)
    if reads_features:
        notify("front end: converting ...")
        convert_front_end(trained.folder, folder / FRONT_END_FILE, LIMIT_S)
    card = card_of(trained, front_end_file=FRONT_END_FILE if reads_features else None)
    tables = sum(table.bytes for table in (*front_end.tables(), *domain.tables()))
    variants: dict[str, Card] = {}
    verifications: dict[str, Any] = {}
    for recipe in recipes:
        verifications[recipe.name] = verified(folder, trained, recipe, notify)
        beside = 0 if recipe.reads == "scan" else tables
        variants[recipe.name] = size_report(folder, recipe, beside, verifications[recipe.name], budget)
    plain = {path.name: path.read_bytes() for path in folder.glob("*.tflite")}
    card["default_variant"] = default_variant(variants)
    card["budget"] = asdict(budget)
    card["variants"] = variants

    notify("test soils through soil_scan.py ...")
    # A first card, without what is measured by it.
    seal(folder, card)
    for name, facts in variants.items():
        facts["test"] = tested(SoilScan(folder, name, UNFINISHED_SUMS), trained)
    show(card)
    refuse_if_none_fits(variants)

    for file, content in plain.items():
        own = {name: facts for name, facts in variants.items() if facts["file"] == file}
        # Without the size and hash of the file that it is in.
        (folder / file).write_bytes(embed(content, {**card, "variants": own}))
    for facts in (*variants.values(), card["front_end"]):
        if facts["file"]:
            facts["bytes"] = (folder / facts["file"]).stat().st_size
            facts["sha256"] = sha256(folder / facts["file"])
    for name in in_c(variants):
        found = model_source(
            plain[variants[name]["file"]],
            reads=variants[name]["reads"],
            targets=tuple(card["targets"]),
            arena_bytes=variants[name]["arena_bytes"],
            wavelengths_nm=card["input"]["wavelengths_nm"],
        )
        sources |= {f"{name}/{file}": text for file, text in found.items()}
    for name, source in sources.items():
        (folder / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "c" / name).write_text(source, encoding="utf-8")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")
    shutil.copyfile(RUNTIME, folder / RUNTIME.name)
    write_json(folder / "verification.json", {"measured": measured_on(), "variants": verifications})
    seal(folder, card)

    notify("golden vectors ...")
    facts, arrays = golden.vectors(
        trained,
        front_end,
        {name: SoilScan(folder, name, UNFINISHED_SUMS) for name in variants},
        {recipe.name: recipe for recipe in recipes},
        {name: plain[found["file"]] for name, found in variants.items() if found["arena_bytes"] is not None},
    )
    write_json(folder / "golden.json", facts)
    (folder / "golden.npz").write_bytes(arrays)
    seal(folder, card)
    for name in variants:
        try:
            repeat_golden(SoilScan(folder, name, UNFINISHED_SUMS))
        except SoilScanError as broken:
            raise InputError(f"{broken}; leave {name} out of --recipes, or train a model that bears it") from None
    return card


def verified(folder: Path, trained: StoredRun, recipe: Recipe, notify: Callable[[str], None]) -> dict[str, Any]:
    """Convert a recipe into the folder and verify the file; returns what every runtime gave.

    Raises:
        InputError: the conversion failed, or the file breaks its promise.
    """
    file = folder / f"{recipe.name}.tflite"
    notify(f"{recipe.name}: converting ...")
    convert(trained.folder, recipe, file, LIMIT_S)
    notify(f"{recipe.name}: verifying ...")
    verification = verify(trained, recipe, file)
    if broken := tolerance_exceeded(verification, recipe):
        raise InputError(f"{broken}; leave {recipe.name} out of --recipes, or train a model that bears it")
    return verification.as_dict()


def size_report(folder: Path, recipe: Recipe, beside: int, verification: Mapping[str, Any], budget: Budget) -> Card:
    """A variant's part of the card: sizes, errors, and where it exceeds the budget; `beside` are bytes of C tables."""
    file = f"{recipe.name}.tflite"
    facts = variant_facts(recipe, file, (folder / file).read_bytes(), beside, verification)
    facts["budget"] = list(
        budget.exceeded(
            flash_bytes=facts["flash_bytes"],
            arena_bytes=facts["arena_bytes"],
            largest_error=max(largest_error_sd(verification).values()),
        )
    )
    return facts


def refuse_if_none_fits(variants: Mapping[str, Card]) -> None:
    """Look whether a variant keeps within the budget.

    Raises:
        InputError: none does.
    """
    if all(facts["budget"] for facts in variants.values()):
        nearest = min(variants, key=lambda name: (len(variants[name]["budget"]), variants[name]["flash_bytes"]))
        reasons = ", ".join(variants[nearest]["budget"])
        raise InputError(f"--budget: no variant fits, {nearest}: {reasons}; nothing was written")


def c_sources(trained: StoredRun, front_end: c_front_end.FrontEnd, domain: c_domain.Domain) -> dict[str, str]:
    """Name -> text of the C sources that do not depend on a variant."""
    scales = [asdict(scale) for scale in trained.scales.values()]
    limits = trained.card["domain"]["limits"]
    return {
        **c_scan.scan(front_end, (limits["T2"], limits["Q"])),
        **c_front_end.front_end(front_end),
        **c_domain.domain(domain),
        **c_source.target_scaling(scales, trained.card),
    }


def default_variant(variants: Mapping[str, Card]) -> str:
    """What a device runs unless told otherwise: the first that fits the budget and reads a scan, else the first."""
    order = sorted(variants, key=lambda name: (bool(variants[name]["budget"]), variants[name]["reads"] != "scan"))
    return order[0]


def in_c(variants: Mapping[str, Card]) -> list[str]:
    """What becomes C source: all that TFLM runs; the smallest in flash where it runs none, or is not installed."""
    run = [name for name, facts in variants.items() if facts["arena_bytes"] is not None]
    return run or [min(variants, key=lambda name: variants[name]["flash_bytes"])]


def measured_on() -> dict[str, str]:
    """When and where; the one thing, with latencies, in which two exports of one run differ."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def seal(folder: Path, card: Card) -> None:
    """Write card.json, then the SHA-256 of every file, as `sha256sum -c` reads them, to UNFINISHED_SUMS."""
    write_json(folder / CARD, card)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), name) for name in files]
    lines = [f"{digest}  {name}\n" for digest, name in sums if name != UNFINISHED_SUMS]
    (folder / UNFINISHED_SUMS).write_text("".join(lines), encoding="utf-8")
