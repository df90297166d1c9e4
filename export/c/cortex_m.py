"""The simulated microcontrollers on which the C source is built and run: compiler flags and boards of QEMU."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Core:
    """A Cortex-M core."""

    name: str
    short: str
    """As in the targets of the Makefile."""
    flags: str
    """Flags of arm-none-eabi-gcc."""
    board: str
    """Board of qemu-system-arm that has it."""


CORES = (
    Core(name="Cortex-M3", short="m3", flags="-mcpu=cortex-m3 -mfloat-abi=soft", board="mps2-an385"),
    Core(name="Cortex-M4", short="m4", flags="-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard", board="mps2-an386"),
    Core(name="Cortex-M7", short="m7", flags="-mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard", board="mps2-an500"),
)

FLAGS = (
    "-mthumb -std=gnu99 -Os -fno-math-errno -ffunction-sections -fdata-sections -Wl,--gc-sections -nostartfiles "
    "-T qemu/mps2.ld"
)
"""Flags of every core. Small code is worth more than the 10 % of the instructions that -O2 saves."""

FIRMWARE_LIBRARIES = "--specs=nano.specs --specs=nosys.specs"
STDIO_LIBRARIES = "-DWITH_STDIO --specs=rdimon.specs"
"""Libraries of the programs that print."""

SIMULATOR = "-nographic -monitor none -serial none -semihosting-config enable=on,target=native -icount shift=0"
"""Options of qemu-system-arm; -icount makes the instructions of two runs equal."""
