"""Sources for TensorFlow Lite for Microcontrollers (TFLM) in the folder `c/` of a bundle."""

from collections.abc import Mapping

from export.bundling.card import Card
from export.c.model import model_source
from export.c.scan import scan_files
from export.c.targets import targets_files


def tflm_sources(card: Card, plain: Mapping[str, bytes]) -> dict[str, str]:
    """Path below `c/` -> text: check of a scan, targets, and the model of each variant of `in_c`.

    Args:
        card: Card with all variants.
        plain: File name -> the file without its card.
    """
    limits, facts, variants = card["domain"]["limits"], card["input"], card["variants"]
    sources = scan_files(facts["quantity"], len(facts["wavelengths_nm"]), (limits["T2"], limits["Q"]))
    sources |= targets_files(card["targets"])
    for name in in_c(variants):
        model_files = model_source(
            plain[variants[name]["file"]],
            targets=tuple(card["targets"]),
            arena_bytes=variants[name]["arena_bytes"],
            wavelengths_nm=facts["wavelengths_nm"],
        )
        sources |= {f"{name}/{file}": text for file, text in model_files.items()}
    return sources


def in_c(variants: Mapping[str, Card]) -> list[str]:
    """Names of the variants written as C++ source: those that TFLM ran; without any, the smallest."""
    run = [name for name, facts in variants.items() if facts["arena_bytes"] is not None]
    return run or [min(variants, key=lambda name: variants[name]["model_bytes"])]
