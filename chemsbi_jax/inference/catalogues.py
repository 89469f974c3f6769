"""What a catalogue says of a galaxy: draws of the second interval, and their prior."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Float

from chemsbi_jax.constants import N_GLOBAL, PARAMETERS, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior
from chemsbi_jax.galaxy.hierarchical.yield_prior import mixing_matrix
from chemsbi_jax.inference.result import SHARED_TABLE, Inference
from chemsbi_jax.priors import moments, paper_prior
from chemsbi_jax.results import verdict

PRIOR_SCALES = "prior_scales"  # in the meta of the table of draws
AGAIN = "Repeat `chemsbi infer` with this version"
ENOUGH_DRAWS = 3  # effective ones for each parameter
ROUNDING = 1e-6  # of prior scales, relative

Source = Inference | HierarchicalPosterior | str | os.PathLike
"""A result, or the folder that `chemsbi infer` wrote."""


class Catalogue(NamedTuple):
    """The second interval from one table of stars."""

    name: str
    draws: Float[np.ndarray, "draw common"]  # galaxy, free yield factors and slopes
    scales: Mapping[str, float]  # of the prior of these factors and slopes
    n_effective: float  # independent draws that these are worth
    n_used: int | None  # stars; None: not known
    level: str | None  # of its own verdict

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the columns of `draws`."""
        return (*PARAMETERS[:N_GLOBAL], *self.scales)


class Whitening(NamedTuple):
    """Affine map to parameters whose prior is a standard normal distribution."""

    centre: Float[np.ndarray, " common"]
    root: Float[np.ndarray, "common common"]  # lower triangular

    def apply(
        self, x: Float[np.ndarray, "*b common"]
    ) -> Float[np.ndarray, "*b common"]:
        """Draws in whitened parameters."""
        return np.linalg.solve(self.root, (x - self.centre).T).T

    def undo(self, x: Float[np.ndarray, "*b common"]) -> Float[np.ndarray, "*b common"]:
        """Draws in the units of the parameters."""
        return self.centre + x @ self.root.T


def prior_of(scales: Mapping[str, float]) -> Whitening:
    """The prior of the galaxy, and of yield factors and slopes with these scales."""
    rows = [SHARED_FACTORS.index(name) for name in scales]
    factors = (
        np.array([*scales.values()])[:, None] * mixing_matrix(SHARED_FACTORS)[rows]
    )
    n = N_GLOBAL + len(rows)
    root, centre = np.zeros((n, n)), np.zeros(n)
    centre[:N_GLOBAL], sd = moments(paper_prior()[:N_GLOBAL])
    root[:N_GLOBAL, :N_GLOBAL] = np.diag(sd)
    root[N_GLOBAL:, N_GLOBAL:] = np.linalg.cholesky(factors @ factors.T)
    return Whitening(centre, root)


def read_catalogue(name: str, source: Source) -> Catalogue:
    """The second interval of a result, or of the folder of a run.

    Raises:
        InputError: there is no second interval, or it does not have its prior.
    """
    if isinstance(source, str | os.PathLike):
        return _from_folder(name, Path(source))
    found = (
        source if isinstance(source, HierarchicalPosterior) else source.shared_errors
    )
    if found is None or not found.is_converged:
        raise InputError(_without(name))
    known = isinstance(source, Inference)
    about = (source.n_used, source.verdict.level) if known else (None, None)
    draws = dict(zip(found.names, found.draws.T, strict=True))
    scales = found.prior_scales()
    return _catalogue(name, draws, scales, found.posterior.checks, *about)


def _from_folder(name: str, folder: Path) -> Catalogue:
    summary_path, path = folder / "summary.json", folder / SHARED_TABLE
    if not summary_path.is_file():
        raise InputError(
            f"Expected the folder of a run of `chemsbi infer`, with summary.json; got "
            f"{folder}, which has none. Run `chemsbi infer` for this catalogue first."
        )
    if not path.is_file():
        raise InputError(_without(str(folder)))
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        table = Table.read(path, format="ascii.ecsv")
        scales = {k: float(v) for k, v in table.meta[PRIOR_SCALES].items()}
        draws = {n: np.asarray(table[n], float) for n in table.colnames}
        checks = summary["shared_errors"].get("checks", {})
        about = int(summary["n_used"]), verdict(summary).level
        return _catalogue(name, draws, scales, checks, *about)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected draws with {PRIOR_SCALES}, as this version writes them; "
            f"got {type(error).__name__}: {error}. {AGAIN}."
        ) from error


def _without(name: str) -> str:
    return (
        f"Expected a second interval of each catalogue; {name} has none. Repeat "
        "`chemsbi infer` without --fast and --no-shared-errors, or leave it out; its "
        "summary.json has the reason under shared_errors_note."
    )


def _catalogue(
    name: str,
    draws: Mapping[str, Float[np.ndarray, " draw"]],
    scales: Mapping[str, float],
    checks: Mapping,
    n_used: int | None,
    level: str | None,
) -> Catalogue:
    unknown = sorted(set(scales) - set(SHARED_FACTORS))
    if unknown:
        raise LookupError(f"unknown yield factors {unknown}")
    # in the order of psi: the meta of a table is sorted by name
    each = {k: float(scales[k]) for k in SHARED_FACTORS if k in scales}
    free = {k: scale for k, scale in each.items() if scale > 0.0}
    columns = {k: draws[k] for k in (*PARAMETERS[:N_GLOBAL], *free)}
    for parameter, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"Expected finite draws of {name}; got {values[bad[0]]} in row "
                f"{bad[0] + 1}, column {parameter}. {AGAIN}."
            )
    found = np.column_stack([*columns.values()])
    n_effective = len(found)  # the draws of the network are independent
    if checks.get("sampler") == "nuts":
        n_effective = checks["n_effective"]
    least = ENOUGH_DRAWS * len(columns)
    if n_effective < least:
        raise InputError(
            f"Expected at least {least} effective draws of {name}; got "
            f"{n_effective:.0f}. Repeat `chemsbi infer` with more (effective_draws in "
            "the file of --shared-priors), or without --sampler nuts."
        )
    return Catalogue(name, found, free, n_effective, n_used, level)


def require_comparable(catalogues: Sequence[Catalogue]) -> None:
    """Refuse what can't be one galaxy's independent catalogues with one prior.

    Raises:
        InputError: fewer than two catalogues, two equal ones, or different priors.
    """
    if len(catalogues) < 2:
        raise InputError(
            f"Expected at least two catalogues; got {len(catalogues)}. Give the folder "
            "of another run of `chemsbi infer`."
        )
    first = catalogues[0]
    for i, one in enumerate(catalogues):
        for other in catalogues[:i]:
            if np.array_equal(one.draws, other.draws):
                raise InputError(
                    f"Expected different catalogues; {other.name} and {one.name} have "
                    "the same draws, and would count twice. Leave one out."
                )
        values, expected = ([*c.scales.values()] for c in (one, first))
        same_names = list(one.scales) == list(first.scales)
        if not same_names or not np.allclose(values, expected, rtol=ROUNDING, atol=0.0):
            raise InputError(
                "Expected the same prior of the yields for all catalogues, as they "
                f"have the yields in common; {first.name} and {one.name} differ. "
                "Repeat `chemsbi infer` with the same --hold and --shared-priors."
            )
