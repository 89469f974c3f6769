"""The second interval of one catalogue: draws, their prior, and where they are from."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.table import Table
from jaxtyping import Float

from chemsbi_jax.constants import N_GLOBAL, PARAMETERS, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior
from chemsbi_jax.inference.result import SHARED_TABLE, Inference
from chemsbi_jax.results import verdict

PRIOR_SCALES = "prior_scales"  # in the meta of the table of draws
AGAIN = "Repeat `chemsbi infer` with this version."
ENOUGH_DRAWS = 5  # effective ones for each parameter

Source = Inference | HierarchicalPosterior | str | os.PathLike
"""A result, or the folder that `chemsbi infer` wrote."""


class About(NamedTuple):
    """The run that made a second interval, as far as it is known."""

    n_used: int | None = None  # stars
    level: str | None = None  # of its verdict
    reason: str = ""  # of its verdict
    stars: str | None = None  # checksum of its stars
    version: str | None = None  # of the package
    # of the stars of the checks; NaN in gaps
    abundances: Float[np.ndarray, "star element"] | None = None
    ids: tuple[str, ...] = ()  # of these stars
    unread: str = ""  # why the file with the abundances can't be read


class Catalogue(NamedTuple):
    """The second interval from one table of stars."""

    name: str
    draws: Float[np.ndarray, "draw common"]  # galaxy, free yield factors and slopes
    scales: Mapping[str, float]  # of the prior of these factors and slopes
    n_effective: float  # independent draws that these are worth
    about: About

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the columns of `draws`."""
        return (*PARAMETERS[:N_GLOBAL], *self.scales)


def read_catalogue(name: str, source: Source) -> Catalogue:
    """The second interval of a result, or of the folder of a run.

    Raises:
        InputError: there is no second interval, it has too few effective draws, or a
            file can't be read; names the file, the row and the column.
    """
    if isinstance(source, str | os.PathLike):
        return _from_folder(name, Path(source))
    if isinstance(source, Inference):
        found, about = source.shared_errors, _about(source)
    elif isinstance(source, HierarchicalPosterior):
        found, about = source, About()
    else:
        raise InputError(
            f"Expected a result of `infer`, or the folder of a run, for {name}; got "
            f"{type(source).__name__}."
        )
    if found is None or not found.is_converged:
        raise InputError(_without(name))
    draws = dict(zip(found.names, found.draws.T, strict=True))
    task = draws, found.prior_scales(), found.posterior.checks, about
    return _catalogue(name, name, *task)


def _about(result: Inference) -> About:
    known = result.provenance.get
    values = np.where(result.stars.observed, result.stars.values, np.nan)
    own = result.n_used, result.verdict.level, result.verdict.reason
    ids = tuple(map(str, result.stars.ids))
    return About(*own, known("stars"), known("version"), values, ids)


def _from_folder(name: str, folder: Path) -> Catalogue:
    summary = _read_summary(folder)
    shared = summary.get("shared_errors")
    path = folder / SHARED_TABLE
    if not shared or shared.get("converged") is False:
        raise InputError(_without(str(folder), summary.get("shared_errors_note")))
    if not path.is_file():
        raise InputError(
            f"Expected the draws of the second interval in {path}; there is no such "
            f"file. {AGAIN}"
        )
    try:
        table = Table.read(path, format="ascii.ecsv")
        scales = {k: float(v) for k, v in table.meta[PRIOR_SCALES].items()}
        draws = {
            n: np.ma.filled(np.ma.asarray(table[n], float), np.nan)
            for n in table.colnames
        }
        absent = {*PARAMETERS[:N_GLOBAL], *scales} - set(draws)
        if absent:
            raise LookupError(f"no columns {sorted(absent)}")
        if len(table) != table.meta["n_draws"]:
            expected = table.meta["n_draws"]
            raise ValueError(f"{len(table)} of {expected} draws: the file is cut off")
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"{path}: expected draws with {PRIOR_SCALES} in the meta, as this version "
            f"writes them; got {_one_line(error)}. {AGAIN}"
        ) from error
    own = verdict(summary)
    known = (summary.get("provenance") or {}).get
    found = _abundances(folder / "posterior.nc")
    level = own.level, own.reason
    about = About(summary["n_used"], *level, known("stars"), known("version"), *found)
    return _catalogue(name, str(path), draws, scales, shared.get("checks", {}), about)


def _read_summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    if not path.is_file():
        got = "which has none. Run `chemsbi infer` for this catalogue"
        if folder.is_file():
            got = (
                "which is a file. Give the folder of its run (--out of `chemsbi infer`)"
            )
        elif not folder.exists():
            got = "which does not exist. Check the path, with spaces between folders"
        elif (folder / "combined.json").is_file():
            got = (
                "a result of `chemsbi combine`. Give the runs of all catalogues at once"
            )
        raise InputError(
            "Expected the folder of a run of `chemsbi infer`, with summary.json; got "
            f"{folder}, {got}."
        )
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(summary.get("n_used"), int):
            raise ValueError("no number of stars n_used")
        for name in ("shared_errors", "provenance"):
            if not isinstance(summary.get(name) or {}, dict):
                raise ValueError(f"no block {name}")
        checks = (summary.get("shared_errors") or {}).get("checks", {})
        if checks.get("sampler") == "nuts":
            float(checks["n_effective"])
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"{path}: expected the summary of a run of `chemsbi infer`; got "
            f"{_one_line(error)}. {AGAIN}"
        ) from error
    return summary


def _abundances(path: Path) -> tuple[np.ndarray | None, tuple[str, ...], str]:
    """Those of the stars of a run, their ids, and why they can't be read, if so."""
    try:
        with xr.open_dataset(path, group="observed_data", engine="h5netcdf") as found:
            values = np.where(found["observed"], found["abundances"], np.nan)
            return values, tuple(map(str, found["star"].values)), ""
    except (OSError, LookupError, ValueError) as error:
        return None, (), f"{path} can't be read ({_one_line(error)})"


def _one_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0][:200].rstrip(" .")
    return f"{type(error).__name__}: {first}"


def _without(name: str, note: str | None = None) -> str:
    reason = note or (
        "Repeat `chemsbi infer` without --fast and --no-shared-errors, or leave this "
        "catalogue out."
    )
    return f"Expected a second interval of each catalogue; {name} has none. {reason}"


def _catalogue(
    name: str,
    where: str,
    draws: Mapping[str, Float[np.ndarray, " draw"]],
    scales: Mapping[str, float],
    checks: Mapping,
    about: About,
) -> Catalogue:
    """Columns in the order of psi, all of them finite, and enough draws."""
    unknown = sorted(set(scales) - set(SHARED_FACTORS))
    if unknown:
        raise InputError(
            f"{where}: expected yield factors from {SHARED_FACTORS}; got {unknown}. "
            f"{AGAIN}"
        )
    # the meta of a table is sorted by name
    each = {k: float(scales[k]) for k in SHARED_FACTORS if k in scales}
    free = {k: scale for k, scale in each.items() if scale > 0.0}
    columns = {k: draws[k] for k in (*PARAMETERS[:N_GLOBAL], *free)}
    for parameter, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"{where}: expected finite draws; got {values[bad[0]]}, or an empty "
                f"cell, in row {bad[0] + 1}, column {parameter}. {AGAIN}"
            )
    found = np.column_stack([*columns.values()])
    n_effective = float(len(found))  # the draws of the network are independent
    if checks.get("sampler") == "nuts":
        n_effective = float(checks["n_effective"])
    least = ENOUGH_DRAWS * len(columns)
    if n_effective < least:
        raise InputError(
            f"{where}: expected at least {least} effective draws; got "
            f"{n_effective:.0f}. Repeat `chemsbi infer` with more (effective_draws in "
            "the file of --shared-priors), or without --sampler nuts."
        )
    return Catalogue(name, found, free, n_effective, about)
