"""Make a mock table of a survey: its columns, flags, gaps, ages and unusable rows.

    python experiments/make_survey.py --out runs/tutorial/survey.csv

For the tutorial (docs/tutorial.md) and for tests: the stars come from the
emulator, with the errors that GALAH has, in the columns of its third data release.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.constants import N_GLOBAL, T_END
from chemsbi_jax.errors import InputError
from chemsbi_jax.npe import AnyErrors
from chemsbi_jax.npe.reading import as_table
from chemsbi_jax.storage.files import whole_file

SPARE = 1.3  # some draws of the prior have no star
BAD_SHARE = 0.03  # of the rows, for each kind of trouble
GIANT = 2.5  # their log g


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/tutorial/survey.csv")
    """Table to write (CSV)."""
    truth: tuple[float, float] = (-2.6, -3.3)
    """alpha_imf and log10_n_ia of the galaxy."""
    n: int = 400
    """Rows."""
    seed: int = 3
    """Random seed."""
    quiet: bool = False
    """Nothing on the screen."""


def main(config: Config) -> Table:
    """Make the stars and write their table."""
    if config.n < 10:
        raise InputError(f"Expected --n of at least 10; got {config.n}.")
    key_theta, key_noise, key_rows = jax.random.split(jax.random.key(config.seed), 3)
    n_try = int(SPARE * config.n) + 50
    theta = priors.sample(key_theta, cs.paper_prior(), n_try)
    theta = theta.at[:, :N_GLOBAL].set(jnp.array(config.truth))
    clean = cs.emulate(theta, cs.load_emulator("tng-any"))
    measure = AnyErrors("galah")
    inputs = np.asarray(measure.observe(key_noise, clean, theta[:, -1]))
    inputs = inputs[np.isfinite(inputs).all(axis=1)][: config.n]
    seed = np.asarray(jax.random.key_data(key_rows))
    table = as_galah(as_table(inputs), np.random.default_rng(seed))
    with whole_file(config.out) as path:
        table.write(path, format="ascii.csv")
    if not config.quiet:
        print(f"{len(table)} rows of a mock survey are in {config.out}.")
    return table


def as_galah(stars: cs.Stars, rng: np.random.Generator) -> Table:
    """The columns of GALAH DR3, with rows and values that must not be used."""
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


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
