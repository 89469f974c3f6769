"""Coverage and width of the second interval on many galaxies at once.

    python experiments/shared_coverage.py --n-stars 100
    python experiments/shared_coverage.py --study forms --n-stars 100
    python experiments/shared_coverage.py --study sets --n-stars 100
    python experiments/shared_coverage.py --study sets-and-errors --n-stars 100
    python experiments/shared_coverage.py --study sets --by nuts --n-galaxies 30
    python experiments/shared_coverage.py --study power

`prior` draws all shared parameters from their priors. `forms` does too, and half of its
galaxies have two populations with correlated local parameters. `sets` makes the stars
with other published yield sets, in equal shares, and infers with TNG and its yield
factors: local parameters from the prior, without zero points, scatter and outliers.
`sets-and-errors` does too, with zero points, scatter and populations from their priors.
These four write shared_coverage_STUDY_N.json (_nuts at the end of the name with
--by nuts) with the shares of galaxies inside the regions of 68 and 95 %, of both
galaxy parameters, jointly, and of each other shared parameter, and with tests against
bands that hold with 99 % confidence. `power` writes the widths for different numbers of
stars, elements and birth times, as JSON and as a figure.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from common.coverage import LEVELS, count
from common.coverage_tables import write_markdown
from common.published_sets import PUBLISHED_SETS
from common.shared_galaxies import (
    NAMES,
    Galaxies,
    draw_by_nuts,
    draw_galaxies,
    draw_posteriors,
    empty_stars,
    like_stars,
)
from common.simulated_galaxies import Size, simulate_galaxies
from tqdm import tqdm

from chemsbi_jax import plots, results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import GLOBAL_PARAMETERS, N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.diagnostics.coverage import central_coverage, ellipsoid_coverage
from chemsbi_jax.diagnostics.tarp import tarp
from chemsbi_jax.errors import InputError
from chemsbi_jax.plots.shared_errors import plot_power

FROM_PRIOR = ("prior", "forms")
CONFIDENCE = 0.99  # of the bands
TOO_NARROW = 0.8  # a posterior of this width must be rejected
STUDY_SIZES = (10, 30, 100, 300, 1000)
READINGS = {
    "Fe, Mg": (("fe_h", "mg_fe"), None),
    "Fe, Mg, O, Si": (("fe_h", "mg_fe", "o_fe", "si_fe"), None),
    "and C, N": (("fe_h", "mg_fe", "o_fe", "si_fe", "c_fe", "n_fe"), None),
    "and C, N, birth times": (
        ("fe_h", "mg_fe", "o_fe", "si_fe", "c_fe", "n_fe"),
        1.0,
    ),
}
"""What was measured: abundances, and the error of the birth times [Gyr]."""


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the tables and the figure."""
    study: Literal["prior", "forms", "sets", "sets-and-errors", "power"] = "prior"
    """Source of the galaxies (see above); power: widths alone."""
    by: Literal["network", "nuts"] = "network"
    """What draws the posteriors of sets, as --sampler of infer.py.
    NUTS takes about two minutes a galaxy."""
    sets: str = ",".join(PUBLISHED_SETS)
    """Yield sets of the galaxies of `sets` and `sets-and-errors`."""
    n_galaxies: int = 200
    """Number of galaxies in total; with power, all cases have the same."""
    n_stars: int = 100
    """Stars of a galaxy; `power` has its own numbers."""
    error: float = 0.05
    """Error of the abundances [dex]."""
    n_draws: int = 499
    """Draws of each posterior."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bars, no table on the screen."""


def main(config: Config) -> dict:
    """Draw galaxies, infer each, count; returns the content of the JSON file."""
    check_flags(config, n_galaxies=10, n_stars=2, n_draws=50)
    if config.by == "nuts" and config.study != "sets":
        raise InputError(
            f"Expected --study sets with --by nuts; got --study {config.study}. Leave "
            "out --by: NUTS is implemented for sets alone."
        )
    key = jax.random.key(config.seed)
    content = power(key, config) if config.study == "power" else coverage(key, config)
    flags = vars(config) | {"out": str(config.out)}
    content = {"study": config.study, "flags": flags} | content
    number = "" if config.study == "power" else f"_{config.n_stars}"
    number += "_nuts" if config.by == "nuts" else ""
    path = config.out / f"shared_coverage_{config.study}{number}.json"
    results.write_summary(path, content)
    write_markdown(path, content)
    if not config.quiet and config.study != "power":
        report(content)
    return content


def coverage(key, config: Config) -> dict:
    """Shares of galaxies inside regions, of all galaxies and of each yield set."""
    key_galaxies, key_infer, key_count, key_nuts = jax.random.split(key, 4)
    n = config.n_galaxies
    if config.study in FROM_PRIOR:
        like = like_stars(empty_stars(config.n_stars, config.error))
        any_form = config.study == "forms"
        galaxies = draw_galaxies(key_galaxies, n, like, any_form=any_form)
    else:
        names = config.sets.split(",")
        galaxies = simulate_galaxies(
            key_galaxies,
            names,
            Size(n, config.n_stars, config.error),
            with_errors=config.study == "sets-and-errors",
            quiet=config.quiet,
        )
    draws, about = draw((key_infer, key_nuts), galaxies, config)
    content = count(galaxies.truth, draws) | about
    if config.study in FROM_PRIOR:
        return content | {"tests": tests(key_count, galaxies.truth, draws)}
    each = {s: np.flatnonzero(galaxies.labels == s) for s in sorted(set(names))}
    sets = {s: count(galaxies.truth[i], draws[i]) for s, i in each.items()}
    return content | {"sets": sets}


def draw(keys, galaxies: Galaxies, config: Config) -> tuple[np.ndarray, dict]:
    """Draws of psi of every galaxy, and the checks of NUTS.

    Args:
        keys: of the draws of the network, and of NUTS.
        galaxies: their stars.
        config: the flags.
    """
    key_network, key_nuts = keys
    draws = draw_posteriors(key_network, galaxies, config.n_draws)
    if config.by == "network":
        return draws, {}
    draws, checks = draw_by_nuts(key_nuts, galaxies, draws, config.quiet)
    r_hats = [c["r_hat"] for c in checks if "r_hat" in c] or [np.nan]
    quantiles = np.quantile(r_hats, (0.5, 0.9)).tolist()
    about = {
        "r_hat": dict(zip(("median", "90 %"), quantiles, strict=True)),
        "n_by_network": sum(c["sampler"] == "network" for c in checks),
    }
    return draws, about | {"checks": checks}


def tests(key, truth: np.ndarray, draws: np.ndarray) -> dict:
    """P values, and whether whole curves of coverage are inside bands of 99 %.

    Each latent of psi has a test of its own. `too_narrow` has the same tests of
    posteriors that are 20 % too narrow: these must fail.
    """
    key_first, key_narrow = jax.random.split(key)
    middle = draws.mean(axis=1, keepdims=True)
    narrow = middle + TOO_NARROW * (draws - middle)
    shown = _curves(key_first, truth, draws)
    return shown | {"too_narrow": _curves(key_narrow, truth, narrow)}


def _curves(key, truth: np.ndarray, draws: np.ndarray) -> dict:
    galaxy = truth[:, :N_GLOBAL], draws[..., :N_GLOBAL]
    each = central_coverage(truth, draws, confidence=CONFIDENCE)
    some = central_coverage(*galaxy, confidence=CONFIDENCE)
    factors = slice(N_GLOBAL, N_GLOBAL + len(SHARED_FACTORS))
    return {
        "each": dict(zip(GLOBAL_PARAMETERS, map(float, some.p_value), strict=True)),
        "joint": float(ellipsoid_coverage(*galaxy, confidence=CONFIDENCE).p_value[0]),
        "tarp": float(tarp(key, *galaxy, confidence=CONFIDENCE).p_value.min()),
        "factors": dict(
            zip(NAMES[factors], map(float, each.p_value[factors]), strict=True)
        ),
        "least_of_all": float(each.p_value.min()),
        "share_inside": float(each.inside.mean()),
    }


def power(key, config: Config) -> dict:
    """Median posterior widths by number of stars and by what was measured.

    All cases have the same galaxies, so that chance does not distinguish them.
    """
    key_galaxies, key_infer = jax.random.split(key)
    rows: dict[str, dict[str, dict]] = {label: {} for label in READINGS}
    for label in tqdm(READINGS, disable=config.quiet):
        abundances, e_birth_time = READINGS[label]
        each = max(STUDY_SIZES), config.error, abundances, e_birth_time
        like = like_stars(empty_stars(*each))
        task = config.n_galaxies, like
        galaxies = draw_galaxies(key_galaxies, *task)  # key reuse: the same galaxies
        for n in STUDY_SIZES:
            # all cases have as many rows, so that they share one compiled program
            counts = galaxies.counts * (np.arange(max(STUDY_SIZES)) < n)
            some = galaxies._replace(counts=counts)
            task = some, config.n_draws
            draws = draw_posteriors(key_infer, *task)  # key reuse: the same draws
            sd = np.median(draws[..., :N_GLOBAL].std(axis=1), axis=0)
            rows[label][str(n)] = dict(zip(GLOBAL_PARAMETERS, sd.tolist(), strict=True))
    figure = plot_power(rows)
    plots.save_figure(figure, config.out / "shared_coverage_power.png")
    return {"sd_over_prior": rows}


def report(content: dict) -> None:
    """Coverage of the galaxy's parameters, and the tests."""
    for name, row in ({"all": content} | content.get("sets", {})).items():
        parts = []
        for level in LEVELS:
            keys = ("joint", *GLOBAL_PARAMETERS)
            shares = (f"{k} {row['inside'][str(level)][k]:.3f}" for k in keys)
            parts.append(f"{level}: {', '.join(shares)}")
        print(
            f"{name}: {row['n']} galaxies; {'; '.join(parts)}; median chi2 "
            f"{row['median_chi2']:.2f}; widths {row['sd']['alpha_imf']:.3f}, "
            f"{row['sd']['log10_n_ia']:.3f} of the prior; rms errors "
            f"{row['rms_error']['alpha_imf']:.3f}, {row['rms_error']['log10_n_ia']:.3f}"
        )
    for name, row in _tests_of(content).items():
        each = ", ".join(f"{k} {p:.3g}" for k, p in row["each"].items())
        print(
            f"{name}: p of coverage: {each}, joint {row['joint']:.3g}, TARP "
            f"{row['tarp']:.3g}; least of {len(NAMES)} parameters "
            f"{row['least_of_all']:.3g}, {row['share_inside']:.1%} of them inside "
            "bands of 99 %"
        )


def _tests_of(content: dict) -> dict:
    if "tests" not in content:
        return {}
    return {
        "posterior": content["tests"],
        "20 % too narrow": content["tests"]["too_narrow"],
    }


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
