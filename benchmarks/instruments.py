"""Corn on three instruments (not soil): a run of the first instrument on scans of the others, corrected by k samples.

    python -m benchmarks.instruments /work/shared/data/corn_three_instruments.csv.gz [--draws 3] [--out DIR]

Of the 80 samples, 36 on m5 are the library of `rs_ple_nano`, 20 may be scanned on both instruments, and 24 test. k of
the 20 are drawn at random. Rows: the run as it is; corrected with the k samples as pairs; adapted to their laboratory
values, as `python -m relple_tf.adapt` does; both. Nothing is chosen with the test samples.

Prints RMSE divided by the SD of the test samples: mean over the four targets, median over the draws; and how often each
correction was chosen. With 3 draws, one split and 24 test samples: .43 on m5; as it is 1.29 (mp5), 1.24 (mp6);

    instrument   k   pairs   laboratory values   both
    mp5          5     .55                 .71    .64
    mp5         10     .55                 .68    .58
    mp5         20     .54                 .61    .52
    mp6          5     .56                 .74    .69
    mp6         10     .57                 .72    .58
    mp6         20     .53                 .65    .55

The correction was an offset per band in 13 of 14 draws, slope and offset per band in one (mp6, k = 10).
"""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.transfer import with_bias
from relple_tf.adaptation.adapted_run import adaptation
from relple_tf.adaptation.instrument import paired_correction
from relple_tf.adaptation.instrument_run import corrected_run, estimator, on_grid
from relple_tf.adaptation.stored_run import StoredRun, read_run
from relple_tf.config import replace
from relple_tf.prediction.runs import estimates
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training_run import train_run
from relple_tf.zoo import PRESETS

TARGETS = ("moisture_pct", "oil_pct", "protein_pct", "starch_pct")
LIBRARY, POOL, SIZES = 36, 20, (5, 10, 20)
"""Samples of the run; samples that may be pairs; numbers of pairs."""
Rows = npt.NDArray[np.intp]


def read(file: Path) -> dict[str, SpectralLibrary]:
    """Instrument -> its scans, samples in the same order."""
    scans = {}
    for instrument, table in pd.read_csv(file).sort_values("id").groupby("instrument"):
        bands = [column for column in table if column[0].isdigit()]
        scans[str(instrument)] = SpectralLibrary.from_arrays(
            table[bands],
            {name: table[name] for name in TARGETS},
            wavelengths_nm=[float(band) for band in bands],
            quantity="absorbance",
            sample_ids=table["id"],
            source=str(instrument),
            check_spectra=False,
        )
    return scans


def trained(library: SpectralLibrary, test: SpectralLibrary, folder: Path) -> StoredRun:
    """The run of the first instrument; trained once."""
    run = RunFolder(path=folder)
    if not run.is_complete:
        both = dataclasses.replace(
            library,
            spectra=np.concatenate([library.spectra, test.spectra]),
            targets={name: np.concatenate([library.targets[name], test.targets[name]]) for name in TARGETS},
            ids=np.concatenate([library.ids, test.ids]),
            parts=np.array(["train"] * (LIBRARY - 6) + ["validation"] * 6 + ["test"] * len(test)),
        )
        config = replace(PRESETS["rs_ple_nano"](), split__method="given", data__minimum_values=10)
        train_run(both, config, dataclasses.replace(run, resumed=run.is_started), notify=lambda _: None)
    return read_run(folder)


def relative_rmse(run: StoredRun, test: SpectralLibrary) -> float:
    """RMSE divided by the SD of the test samples, mean over the targets."""
    outputs = estimates(run.model, test.spectra)
    errors = [np.sqrt(np.mean((outputs[name] - test.targets[name]) ** 2)) for name in TARGETS]
    return float(np.mean([error / np.std(test.targets[name]) for error, name in zip(errors, TARGETS, strict=True)]))


def relative_rmse_with_bias(run: StoredRun, local: SpectralLibrary, test: SpectralLibrary) -> float:
    """Likewise, of the estimates of the run corrected by their mean error on the local samples."""
    of_local, of_test = estimates(run.model, local.spectra), estimates(run.model, test.spectra)
    ratios = []
    for scale in run.scales:
        name = scale.name
        corrected = with_bias(scale, of_local[name], of_test[name], local.targets[name])
        ratios.append(np.sqrt(np.mean((corrected - test.targets[name]) ** 2)) / np.std(test.targets[name]))
    return float(np.mean(ratios))


def main() -> None:
    """Train, draw, correct, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/instruments"))
    options = parser.parse_args()
    scans = read(options.data)
    first = scans.pop("m5")
    order = np.random.default_rng(0).permutation(len(first))
    library, pool, test = order[:LIBRARY], order[LIBRARY : LIBRARY + POOL], order[LIBRARY + POOL :]
    run = trained(first.rows(library), first.rows(test), options.out / "m5")
    print(f"m5: {relative_rmse(run, first.rows(test)):.2f}", flush=True)
    for instrument, second in scans.items():
        print(f"{instrument} as it is: {relative_rmse(run, second.rows(test)):.2f}", flush=True)
        for size in SIZES:
            rows, methods = [], Counter[str]()
            for draw in range(options.draws if size < POOL else 1):
                drawn: Rows = np.random.default_rng(draw).permutation(pool)[:size]
                local = second.rows(drawn)
                on_first, on_second = (on_grid(run, scans_of.rows(drawn)) for scans_of in (first, second))
                correction = paired_correction(on_first, on_second, estimator(run), sources=("m5", instrument))
                corrected = corrected_run(run, correction)
                adapted = [
                    dataclasses.replace(start, model=adaptation(start, local).model) for start in (run, corrected)
                ]
                tested = second.rows(test)
                ratios = [relative_rmse(result, tested) for result in (corrected, *adapted)]
                rows.append([*ratios, relative_rmse_with_bias(run, local, tested)])
                methods[correction.method] += 1
            paired, values, both, bias = np.median(rows, axis=0)
            print(
                f"{instrument} k={size}: pairs {paired:.2f}, laboratory values {values:.2f} (bias {bias:.2f}), "
                f"both {both:.2f}; chosen: {dict(methods)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
