"""The command `mock`: a table of mock stars of one galaxy with known parameters."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.cli.flags import MockFlags
from chemsbi_jax.cli.mock_survey import require_stars, write_survey
from chemsbi_jax.cli.run import check_flags
from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.emulator import emulate_blocks
from chemsbi_jax.errors import DatasetError, InputError, counted
from chemsbi_jax.galaxy.mocks import mock_stars
from chemsbi_jax.npe import OneError
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_file

DECIMALS = 4  # of the table [dex]
SUFFIXES = (".ecsv", ".fits")


def main(config: MockFlags) -> cs.Stars:
    """Simulate the stars and write their table."""
    check_flags(config, n=1)
    if config.survey is not None:
        return write_survey(config)
    if not config.sigma > 0.0:
        raise InputError(f"Expected --sigma above 0 dex; got {config.sigma:g}.")
    if config.out.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"Expected --out with the suffix {' or '.join(SUFFIXES)}; got {config.out}."
        )
    key = jax.random.key(config.seed)
    measure = OneError(config.sigma)
    names, model = model_of(config)
    values = mock_stars(key, model, measure, config.n, config.truth).values
    values = np.asarray(values, float).round(DECIMALS)
    require_stars(len(values), config.truth)
    ids = np.arange(1, len(values) + 1).astype(str)
    stars = cs.Stars.complete(values, config.sigma, names)._replace(ids=ids)
    truth = dict(zip(GLOBAL_PARAMETERS, config.truth, strict=True))
    meta = {
        "description": "Mock stars of one galaxy, made by chemsbi mock",
        "truth": truth,
        "yields": config.yields if config.emulator is None else config.emulator,
        "noise_dex": config.sigma,
        "seed": config.seed,
    }
    if config.out.suffix.lower() == ".fits":
        write_fits(config.out, stars, meta)
    else:
        write_stars(config.out, stars, meta)
    if not config.quiet:
        known = " and ".join(f"{name} = {value:g}" for name, value in truth.items())
        print(f"{counted(len(values), 'star')} of a galaxy with {known}: {config.out}.")
    return stars


def model_of(
    config: MockFlags,
) -> tuple[tuple[str, ...], Callable[[jax.Array], np.ndarray]]:
    """Names of the abundances, and the model: theta -> abundances without noise [dex].

    The model gives NaN where it has no star.
    """
    if config.emulator is not None:
        if config.yields != MockFlags.yields:
            raise InputError(
                f"Expected --yields {config.yields} or --emulator {config.emulator}, "
                "not both: an emulator has the yields of its training. Remove one of "
                "the two flags."
            )
        emulator = cs.load_emulator(config.emulator)
        return emulator.abundances, partial(emulate_blocks, emulator=emulator)
    try:
        yields = cs.load_yields(config.yields)
    except DatasetError as error:
        raise DatasetError(
            f"{error} The shipped networks need no download: --emulator tng."
        ) from None
    quiet = config.quiet
    return yields.abundances, lambda x: simulate_blocks(x, yields, cs.CLEAN, quiet)


def write_fits(path: Path, stars: cs.Stars, meta: dict) -> None:
    """Abundances and errors [dex], written atomically."""
    table = Table({"star_id": np.asarray(stars.ids).astype("S")})
    for i, name in enumerate(stars.abundances):
        for prefix, values in (("", stars.values), ("e_", stars.errors)):
            table[prefix + name] = values[:, i].astype(np.float32)
    (alpha, n_ia), words = meta["truth"].values(), ("yields", "noise_dex", "seed")
    table.meta = {"ALPHAIMF": alpha, "LOGNIA": n_ia}
    table.meta |= {word[:5].upper(): meta[word] for word in words}
    with whole_file(path) as temporary:
        table.write(temporary, format="fits")
