"""What an inference starts from: stars, networks, and the model of other yields."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chemsbi_jax.catalog import Catalog, read_catalog
from chemsbi_jax.catalog.report import Report
from chemsbi_jax.catalog.shipped import table_of
from chemsbi_jax.errors import InputError, counted
from chemsbi_jax.galaxy.any_yields import YieldModel, columns_to_read
from chemsbi_jax.galaxy.automatic import COMPARED
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.inference.guided import YieldChoice, guided_model
from chemsbi_jax.npe import choose_weights
from chemsbi_jax.npe.protocols import Reader
from chemsbi_jax.options import CatalogOptions
from chemsbi_jax.results import provenance
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.types import AMORTISED, Stars


class Problem(NamedTuple):
    """What an inference starts from."""

    stars: Stars
    networks: Networks
    weights: str  # name or folder of the networks
    report: Report | None  # how the table was read
    path: Path | None  # of the table
    model: YieldModel | None = None  # of other yields

    @property
    def is_guided(self) -> bool:
        """Whether the network was trained with other yields and is only a guide."""
        return self.model is not None and not self.model.is_own


def read_input(
    stars: Stars | Catalog | str | os.PathLike,
    path: Path | None,
    options: CatalogOptions,
    model: tuple[str | os.PathLike | None, str | os.PathLike],
) -> tuple[Stars | Catalog, Path | None]:
    """The stars, with the abundances of yields or weights, and the file of them.

    Raises:
        InputError: the stars or the options are of another type, or stars that are no
            file have options for one.
    """
    if not isinstance(options, CatalogOptions):
        raise InputError(
            "Expected `options` such as cs.CatalogOptions(default_error=0.07); got "
            f"{options!r}."
        )
    if isinstance(stars, str | os.PathLike):
        columns, table = columns_to_read(*model), table_of(Path(stars))
        return read_catalog(table, options, columns), table
    if not isinstance(stars, Stars | Catalog):
        raise InputError(
            "Expected the path of a table, `Stars` or a `Catalog`; got "
            f"{type(stars).__name__}. Write a table to a file (pandas: "
            "table.to_csv('stars.csv', index=False); astropy: "
            "table.write('stars.fits')) and give its path."
        )
    if options != CatalogOptions():
        raise InputError(
            "Expected `options` with the path of a table only: stars that are read "
            "already do not change. Give them to `read_catalog`."
        )
    return stars, path


def require_seed(seed: int) -> None:
    """Refuse a seed that is no integer, which JAX would refuse in its own terms.

    Raises:
        InputError: names what came.
    """
    if not isinstance(seed, int | np.integer):
        raise InputError(f"Expected an integer as seed; got {seed!r}.")


def require_known(method: str) -> None:
    """Refuse a method that is no way to combine stars without shared errors.

    Raises:
        InputError: names the methods.
    """
    known = ("auto", *COMPARED)
    if method not in known:
        raise InputError(
            f"Expected method {', '.join(known)}; got {method!r}. The interval with "
            "shared errors is made beside that of any method (shared_errors=True)."
        )


def prepare_model(
    stars: Stars | Catalog,
    chosen: tuple[str | os.PathLike, Networks | None],
    path: Path | None,
    choice: YieldChoice,
    watch: Stopwatch,
) -> Problem:
    """`prepare`, with the model of the yields if there are any."""
    weights, networks = chosen
    has_weights = networks is not None or str(weights) != "auto"
    model = guided_model(choice, stars, has_weights, watch)
    with watch("read"):
        return prepare(stars, weights, networks, path, model)


def prepare(
    stars: Stars | Catalog,
    weights: str | os.PathLike,
    networks: Networks | None,
    path: Path | None,
    model: YieldModel | None = None,
) -> Problem:
    """Load the networks for the stars, and check that they can read them."""
    report = stars.report if isinstance(stars, Catalog) else None
    table = str(path or (report and report.name) or "stars")
    stars = check_stars(_stars_of(stars), table)
    if model is not None:  # a guide is for any stars; else it reads these abundances
        stars = stars.select(model.abundances)
        return Problem(stars, model.networks, model.name, report, path, model)
    if networks is None:
        auto = str(weights) == "auto"
        weights = choose_weights(stars) if auto else weights
        networks = load_networks(weights)
    else:
        weights = "in memory"
    networks.npe.reader.inputs(stars, table)  # raises with the name of the file
    stars = stars.select(networks.npe.reader.abundances)
    return Problem(stars, networks, str(weights), report, path)


def describe(problem: Problem, seed: int | None) -> Mapping:
    """Provenance: version, seed, networks or yields, checksum of the table."""
    name, model = problem.weights, problem.model
    if model is None:
        return provenance(seed=seed, emulator=name, npe=name, stars=problem.path)
    npe = model.guide if model.is_own else f"{model.guide} (guide)"
    about = provenance(seed=seed, emulator=model.forward, npe=npe, stars=problem.path)
    return {**about, "yields": name, "emulator_rms_dex": model.rms_dex}


def unread_times(reader: Reader, stars: Stars, method: str) -> list[str]:
    """The warning of birth times that a network does not read, if there are any.

    Args:
        reader: of the network.
        stars: the stars of the result.
        method: that computed it; `exact` and `robust` use all birth times.
    """
    n = int(np.isfinite(stars.birth_time).sum())
    if method not in AMORTISED or reader.reads_times or not n:
        return []
    return [
        f"The birth times of {counted(n, 'star')} are not used: the network has no "
        "input for them. Use --weights tng-any or --method exact (Python: weights="
        "'tng-any' or method='exact')."
    ]


def _stars_of(stars: Stars | Catalog) -> Stars:
    """The stars; of a catalogue without the times that its report names as not used."""
    if not isinstance(stars, Catalog):
        return stars
    table = stars.stars
    is_used = np.isfinite(table.e_birth_time)
    return table._replace(birth_time=np.where(is_used, table.birth_time, np.nan))
