"""Mock tables of a survey: its columns, flags, gaps, ages and rows to leave out."""

from collections.abc import Sequence
from functools import partial

import jax
import numpy as np
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import MockFlags
from chemsbi_jax.constants import N_GLOBAL, T_END
from chemsbi_jax.emulator import emulate_blocks
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.mocks import mock_stars
from chemsbi_jax.npe import AnyErrors
from chemsbi_jax.storage.files import whole_file

EMULATOR = "tng-any"
FEWEST = 10  # rows: some of them must not be used
SPARE = 1.3  # some draws of the prior have no star
BAD_SHARE = 0.03  # of the rows, for each kind of trouble
GIANT = 2.5  # their log g


def write_survey(config: MockFlags) -> cs.Stars:
    """Write a table in the columns of GALAH DR3 (CSV).

    Args:
        config: the flags of `chemsbi mock --survey galah`.

    Returns:
        The stars, without what the table adds: flags, values that are not to be used,
        and a row that is listed twice.

    Raises:
        InputError: a flag that a survey does not have, or too few stars.
    """
    _require_flags(config)
    key_stars, key_rows = jax.random.split(jax.random.key(config.seed))
    forward = partial(emulate_blocks, emulator=cs.load_emulator(EMULATOR))
    n_try = int(SPARE * config.n) + 50
    task = forward, AnyErrors("galah"), n_try, config.truth
    stars = mock_stars(key_stars, *task).take(slice(config.n))
    require_stars(len(stars.values), config.truth, FEWEST)
    seed = np.asarray(jax.random.key_data(key_rows))
    table = as_galah(stars, np.random.default_rng(seed))
    with whole_file(config.out) as path:
        table.write(path, format="ascii.csv")
    if not config.quiet:
        print(f"{len(table)} of {config.n} rows of a mock survey are in {config.out}.")
    return stars


def require_stars(n: int, truth: Sequence[float], least: int = 1) -> None:
    """Refuse a galaxy of which the model has fewer than `least` of the stars."""
    if n >= least:
        return
    middle = " and ".join(f"{d.mean:g}" for d in cs.paper_prior()[:N_GLOBAL])
    raise InputError(
        f"Expected --truth of a galaxy that has stars, {least} at least; the model has "
        f"{n or 'none'} with {tuple(truth)}. Give values nearer to {middle}."
    )


def _require_flags(config: MockFlags) -> None:
    """Refuse flags that a table of a survey does not follow."""
    if config.n < FEWEST:
        raise InputError(
            f"Expected --n-stars of at least {FEWEST} with --survey; got {config.n}."
        )
    if config.out.suffix.lower() != ".csv":
        raise InputError(
            "Expected --out with the suffix .csv with --survey, as its tables are CSV; "
            f"got {config.out}."
        )
    usual = MockFlags(emulator=EMULATOR)
    given = {
        "--sigma": config.sigma != usual.sigma,
        "--yields": config.yields != usual.yields,
        "--emulator": config.emulator not in (None, usual.emulator),
    }
    if wrong := " and ".join(flag for flag, is_given in given.items() if is_given):
        raise InputError(
            f"{wrong}: a survey has errors of its own, and its stars come from the "
            f"emulator {EMULATOR}. Remove {wrong}, or --survey."
        )


def as_galah(stars: cs.Stars, rng: np.random.Generator) -> Table:
    """The columns of GALAH DR3, with rows and values that must not be used.

    Args:
        stars: mock stars.
        rng: decides which rows and values.
    """
    n = len(stars.values)

    def some() -> np.ndarray:
        return rng.uniform(size=n) < BAD_SHARE

    table = Table({"sobject_id": 131_116_000_000_000 + np.arange(n)})
    table["flag_sp"] = np.where(some(), 16, 0)
    table["snr_c3_iraf"] = np.where(some(), 12.0, rng.uniform(35.0, 120.0, n)).round(1)
    table["logg"] = np.where(some(), GIANT, rng.uniform(3.9, 4.6, n)).round(2)
    for i, name in enumerate(cs.ABUNDANCES):
        if not stars.observed[:, i].any():
            continue
        theirs = name if name == "fe_h" else name[0].upper() + name[1:]
        missing = some() & (name != "fe_h")
        table[theirs] = np.where(missing, -9999.0, stars.values[:, i]).round(4)
        table[f"e_{theirs}"] = np.where(missing, -9999.0, stars.errors[:, i]).round(4)
        table[f"flag_{theirs}"] = np.where(
            some() & ~missing, 1, np.where(missing, 32, 0)
        )
    age = np.where(np.isfinite(stars.birth_time), T_END - stars.birth_time, -9999.0)
    e_age = np.where(np.isfinite(stars.birth_time), stars.e_birth_time, -9999.0)
    table["age_bstep"], table["e_age_bstep"] = age.round(3), e_age.round(3)
    table["sobject_id"][n // 2] = table["sobject_id"][n // 2 - 1]  # listed twice
    return table
