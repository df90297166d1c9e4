"""Make a bundle from a run: convert, verify and describe; either all files appear, or none."""

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
from export.bundling.c_folder import c_folder
from export.bundling.c_models import c_models
from export.bundling.card import Card, card_of, largest_error_sd, markdown, measured_accuracy, variant_facts
from export.bundling.metadata import embed
from export.bundling.stored_run import StoredRun, load
from export.bundling.tflm import tflm_sources
from export.convert.conversion import convert
from export.page.generator import write_page
from export.recipes import RECIPES, Recipe
from export.runtime.soil_scan import SoilScan, SoilScanError, repeat_golden
from export.verify import golden
from export.verify.verification import tolerance_exceeded, verify
from relple_tf.artefacts.outputs import check_folder
from relple_tf.atomic_files import UNFINISHED, flush_to_disk, name_in_errors, sha256
from relple_tf.errors import InputError
from relple_tf.runs.folder import locked, write_json

LIMIT_S = 600.0
"""Time limit of a conversion, in seconds; a conversion with quantisation-aware training takes minutes."""

CARD, SUMS = "card.json", "SHA256SUMS"
UNFINISHED_SUMS = f"{UNFINISHED}{SUMS}"
"""Name of SHA256SUMS until the bundle is complete; a folder without SHA256SUMS is not a bundle."""
FLOAT32 = "float32"
"""Recipe of the file from which C and the page are generated."""
RUNTIME = Path(__file__).parents[1] / "runtime" / "soil_scan.py"


def check_out(out: Path, run_folder: Path) -> Path:
    """Check that a bundle may be written there.

    Returns:
        The folder that `out` refers to, if `out` is a symbolic link; otherwise `out` as an absolute path.

    Raises:
        InputError: the path holds something else, or its parent is not a folder.
    """
    real = check_folder(out, (run_folder,)).absolute()
    if real.is_dir() and any(real.iterdir()):
        held = "a bundle" if (real / SUMS).exists() else "other files"
        raise InputError(f"{out}: already holds {held}, expected an empty folder; remove it or give another --out")
    if not real.parent.is_dir():
        raise InputError(f"{out}: {real.parent} is not a folder; give an --out in a folder that exists")
    if real.is_dir() and real.is_mount():
        raise InputError(f"{out}: is a mount point, which a rename cannot replace; give a new folder inside it")
    return real


@contextmanager
def unfinished(out: Path, real: Path) -> Iterator[Path]:
    """Give an empty, locked folder in which the bundle is made, in the parent folder of the bundle.

    Files of an earlier export that was killed are removed first; the folder is removed at the end.

    Args:
        out: Path that errors of writing name.
        real: Result of `check_out`.

    Raises:
        InputError: another export of the bundle is running.
    """
    tmp = real.with_name(f"{UNFINISHED}{real.name}")
    with name_in_errors(out, tmp):
        tmp.mkdir(exist_ok=True)
        with locked(tmp, out):
            try:
                for leftover in tmp.iterdir():
                    if leftover.is_dir() and not leftover.is_symlink():
                        shutil.rmtree(leftover)
                    else:
                        leftover.unlink()
                yield tmp
            finally:
                shutil.rmtree(tmp, ignore_errors=True)


def assemble(
    run_folder: Path,
    recipes: Sequence[Recipe],
    budget: Budget,
    out: Path,
    *,
    notify: Callable[[str], None],
    show: Callable[[Card], None],
    c_prefix: str = "soil",
) -> Card:
    """Make the bundle of a run.

    Args:
        run_folder: A finished run.
        recipes: One variant is made with each recipe.
        budget: Limits of the device; at least one variant must keep within them.
        out: Folder of the bundle, made by this function.
        notify: Called with progress messages.
        show: Called with the card once all variants are measured, before the check of the budget.
        c_prefix: Prefix of the names in C, so that two models link into one program.

    Returns:
        The content of card.json.

    Raises:
        InputError: the run is damaged, a conversion failed, a variant exceeds its tolerance, or no variant fits.
    """
    real = check_out(out, run_folder)
    trained = load(run_folder)
    with unfinished(out, real) as tmp:
        card = fill(tmp, trained, recipes, budget, notify=notify, show=show, c_prefix=c_prefix)
        tmp.chmod(0o755)
        for file in [path for path in tmp.rglob("*") if path.is_file()]:
            file.chmod(0o644)
            flush_to_disk(file)
        (tmp / UNFINISHED_SUMS).rename(tmp / SUMS)
        flush_to_disk(tmp)
        check_out(out, run_folder)
        # Fails unless `real` is missing or an empty folder, so it replaces nothing.
        tmp.rename(real)
        flush_to_disk(real.parent)
    return card


def fill(
    folder: Path,
    trained: StoredRun,
    recipes: Sequence[Recipe],
    budget: Budget,
    *,
    notify: Callable[[str], None],
    show: Callable[[Card], None],
    c_prefix: str,
) -> Card:
    """Write all files of the bundle into an empty folder; arguments and result as for `assemble`."""
    card = card_of(trained)
    variants: dict[str, Card] = {}
    verifications: dict[str, Any] = {}
    tflite_recipes = [recipe for recipe in recipes if recipe.language == "tflite"]
    for recipe in tflite_recipes:
        verifications[recipe.name] = verified(folder, trained, recipe, notify)
        variants[recipe.name] = size_report(folder, recipe, verifications[recipe.name], budget)
    plain = {path.name: path.read_bytes() for path in folder.glob("*.tflite")}
    card["default_variant"] = default_variant(variants)
    card["budget"] = asdict(budget)
    card["variants"] = variants
    c_files: dict[str, str] = {}
    exact = plain.get(f"{FLOAT32}.tflite") or float32_file(folder, trained)
    if c_recipes := [recipe for recipe in recipes if recipe.language == "c"]:
        made = c_folder(trained, c_recipes, exact, card, budget, c_prefix, notify)
        c_files, card["c"] = made.files, {"prefix": c_prefix, "models": made.facts}
        verifications |= made.verifications

    notify("testing the variants with soil_scan.py ...")
    # soil_scan.py needs a card; the test results are added afterwards.
    seal(folder, card)
    for name, facts in variants.items():
        facts["test"] = measured_accuracy(SoilScan(folder, name, UNFINISHED_SUMS), trained)
    show(card)
    refuse_if_none_fits(variants | c_models(card))

    notify("soil_scan.html ...")
    recipe = next((recipe for recipe in recipes if recipe.name == FLOAT32), RECIPES[FLOAT32])
    card["page"] = write_page(folder, trained, card, exact, recipe)
    if "unavailable" in card["page"]:
        notify(f"soil_scan.html is left out: {card['page']['unavailable']}")
    for file, content in plain.items():
        in_file = {name: facts for name, facts in variants.items() if facts["file"] == file}
        # This card lacks size and hash of the file, because the file contains it.
        (folder / file).write_bytes(embed(content, {**card, "variants": in_file}))
    for facts in variants.values():
        facts["bytes"] = (folder / facts["file"]).stat().st_size
        facts["sha256"] = sha256(folder / facts["file"])
    sources = c_files | tflm_sources(card, plain)
    for name, source in sources.items():
        (folder / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "c" / name).write_text(source, encoding="utf-8")
    (folder / "card.md").write_text(markdown(card), encoding="utf-8")
    shutil.copyfile(RUNTIME, folder / RUNTIME.name)
    write_json(folder / "verification.json", {"measured": measured_on(), "variants": verifications})
    seal(folder, card)

    notify("golden vectors ...")
    golden_facts, arrays = golden.vectors(
        trained,
        {name: SoilScan(folder, name, UNFINISHED_SUMS) for name in variants},
        {recipe.name: recipe for recipe in tflite_recipes},
        {name: plain[facts["file"]] for name, facts in variants.items() if facts["arena_bytes"] is not None},
    )
    write_json(folder / "golden.json", golden_facts)
    (folder / "golden.npz").write_bytes(arrays)
    seal(folder, card)
    for name in variants:
        try:
            repeat_golden(SoilScan(folder, name, UNFINISHED_SUMS))
        except SoilScanError as error:
            raise InputError(f"{error}; {remedy(name)}") from None
    return card


def float32_file(folder: Path, trained: StoredRun) -> bytes:
    """Convert the model with the recipe FLOAT32, for a bundle without this variant; the file is removed."""
    file = folder / f"{FLOAT32}.tflite"
    convert(trained.folder, RECIPES[FLOAT32], file, LIMIT_S)
    content = file.read_bytes()
    file.unlink()
    return content


def verified(folder: Path, trained: StoredRun, recipe: Recipe, notify: Callable[[str], None]) -> dict[str, Any]:
    """Convert the model with a recipe into the folder and verify the file; return the results of every runtime.

    Raises:
        InputError: the conversion failed, or an error exceeds the tolerance of the recipe.
    """
    file = folder / f"{recipe.name}.tflite"
    notify(f"{recipe.name}: converting ...")
    convert(trained.folder, recipe, file, LIMIT_S)
    notify(f"{recipe.name}: verifying ...")
    verification = verify(trained, recipe, file)
    if excess := tolerance_exceeded(verification, recipe):
        raise InputError(f"{excess}; {remedy(recipe.name)}")
    return verification.as_dict()


def remedy(variant: str) -> str:
    """How to export a run whose model exceeds the tolerance of a variant."""
    return f"leave {variant} out of --recipes, or train a model with a smaller error in this format"


def size_report(folder: Path, recipe: Recipe, verification: Mapping[str, Any], budget: Budget) -> Card:
    """A variant's part of the card: sizes, errors, and the limits of the budget that it exceeds."""
    file = f"{recipe.name}.tflite"
    facts = variant_facts(recipe, file, (folder / file).read_bytes(), verification)
    facts["budget"] = list(
        budget.exceeded(
            flash_bytes=facts["model_bytes"],
            arena_bytes=facts["arena_bytes"],
            largest_error=max(largest_error_sd(verification).values()),
        )
    )
    return facts


def refuse_if_none_fits(variants: Mapping[str, Card]) -> None:
    """Check that at least one variant keeps within the budget.

    Raises:
        InputError: no variant does.
    """
    if all(facts["budget"] for facts in variants.values()):
        nearest = min(variants, key=lambda name: (len(variants[name]["budget"]), flash_bytes(variants[name])))
        reasons = ", ".join(variants[nearest]["budget"])
        raise InputError(
            f"--budget: no variant fits; nearest is {nearest}: {reasons}; raise a limit or try other --recipes"
        )


def flash_bytes(facts: Card) -> int:
    """Bytes of a .tflite, or of the tables of a C source."""
    size: int = facts.get("model_bytes") or facts["table_bytes"]
    return size


def default_variant(variants: Mapping[str, Card]) -> str:
    """Name of the default variant: the first that fits the budget; without any, the first."""
    return min(variants, key=lambda name: bool(variants[name]["budget"]))


def measured_on() -> dict[str, str]:
    """Date and machine; only these and the latencies differ between two exports of the same run."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {platform.system()}",
    }


def seal(folder: Path, card: Card) -> None:
    """Write card.json, then the SHA-256 of every file to UNFINISHED_SUMS, in the format of `sha256sum -c`."""
    write_json(folder / CARD, card)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = [(hashlib.sha256((folder / name).read_bytes()).hexdigest(), name) for name in files]
    lines = [f"{digest}  {name}\n" for digest, name in sums if name != UNFINISHED_SUMS]
    (folder / UNFINISHED_SUMS).write_text("".join(lines), encoding="utf-8")
