"""The folder `c/` of a bundle: sources, self-test, build files, and a library for Arduino, PlatformIO and ESP-IDF."""

import json
from collections.abc import Mapping
from typing import Any

from export.c.cortex_m import CORES, FIRMWARE_LIBRARIES, FLAGS, SIMULATOR, STDIO_LIBRARIES
from export.c.soil_model import SoilModel
from export.c.source import fill, with_prefix

LIBRARY = "src"
"""Folder of the model that the libraries build."""


def folder_of(recipe: str, recipes: tuple[str, ...]) -> str:
    """Folder of the model of a C recipe: LIBRARY for the recipe with the smallest tables, else its name."""
    smallest = "c99_int16" if "c99_int16" in recipes else "c99"
    return LIBRARY if recipe == smallest else recipe


def project(models: Mapping[str, SoilModel], golden: str, card: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """All files of the folder: path -> text.

    Args:
        models: Recipe -> its sources.
        golden: Text of golden.h.
        card: Card of the bundle.
        prefix: Prefix of all names in C, instead of `soil`.
    """
    recipes = tuple(models)
    files = {
        f"{folder_of(recipe, recipes)}/{name}": text
        for recipe, model in models.items()
        for name, text in model.files.items()
    }
    files |= {"golden.h": golden, "selftest.c": fill("selftest.c")}
    files |= {f"qemu/{name}": text for name, text in qemu_files(models[recipes[-1]]).items()}
    files |= build_files([folder_of(recipe, recipes) for recipe in recipes])
    files |= library_files(card)
    return {with_prefix(name, prefix): with_prefix(text, prefix) for name, text in files.items()}


def qemu_files(model: SoilModel) -> dict[str, str]:
    """Programs and linker script for the simulated microcontrollers; the parts of all models are the same."""
    measured = []
    for part, call in model.parts.items():
        measured += ["before = SYSTICK[2];", call]
        measured.append(f'printf("{part} %.0f\\n", (double)(ticks_since(before) * per_tick));')
    return {
        "startup.c": fill("startup.c"),
        "mps2.ld": fill("mps2.ld"),
        "firmware.c": fill("firmware.c"),
        "measure.c": fill("measure.c", measured_parts="\n".join(f"    {line}" for line in measured)),
    }


def build_files(folders: list[str]) -> dict[str, str]:
    """Makefile and CMakeLists.txt."""
    cores = {f"cpu_{core.short}": core.flags for core in CORES} | {f"board_{core.short}": core.board for core in CORES}
    makefile = fill(
        "Makefile",
        **cores,
        other=next((folder for folder in folders if folder != LIBRARY), LIBRARY),
        arm_flags=FLAGS,
        firmware_libraries=FIRMWARE_LIBRARIES,
        stdio_libraries=STDIO_LIBRARIES,
        simulator=SIMULATOR,
    )
    return {"Makefile": makefile, "CMakeLists.txt": fill("CMakeLists.txt")}


def library_files(card: Mapping[str, Any]) -> dict[str, str]:
    """Descriptions of the library for Arduino, PlatformIO and ESP-IDF, and an example."""
    version = card["versions"]["training"]["relple_tf"]
    paragraph = f"Estimates {', '.join(card['targets'])} by {card['model']['preset']} of relple_tf, without a runtime."
    platformio = {
        "name": "soil_model",
        "version": version,
        "description": f"Soil properties from a near-infrared scan. {paragraph}",
        "keywords": "soil, near-infrared, spectroscopy, sensor",
        "license": "Apache-2.0",
        "frameworks": "*",
        "platforms": "*",
        "headers": "soil_model.h",
        "build": {"srcDir": LIBRARY, "includeDir": LIBRARY},
    }
    return {
        "library.properties": fill("library.properties", version=version, paragraph=paragraph),
        "library.json": json.dumps(platformio, indent=2) + "\n",
        "idf_component.yml": fill("idf_component.yml", version=version, paragraph=paragraph),
        "examples/one_scan/one_scan.ino": fill("one_scan.ino"),
    }
