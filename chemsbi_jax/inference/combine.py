"""One galaxy from several catalogues of its stars."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.table import Column, Table
from jaxtyping import ArrayLike, Float

from chemsbi_jax import results
from chemsbi_jax.constants import N_GLOBAL, YIELD_SLOPES
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.combine import (
    information_of,
    posterior_of,
    surprise_of,
    with_own_errors,
)
from chemsbi_jax.galaxy.hierarchical.result import unit_of
from chemsbi_jax.inference.catalogues import (
    Catalogue,
    Source,
    prior_of,
    read_catalogue,
    require_comparable,
)
from chemsbi_jax.storage.files import package_version
from chemsbi_jax.types import GalaxyPosterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLOPE_ERROR = 0.1  # dex per dex of [Fe/H]
N_DRAWS = 4000
MIN_P = 0.01  # of the most unusual catalogue, times their number
N_APART = 3  # parameters that are named


class Agreement(NamedTuple):
    """How unusual a catalogue is, given the others."""

    chi2: float
    n_directions: int  # degrees of freedom: combinations that the stars constrain
    p: float
    pulls: dict[str, float]  # parameter -> distance from the expected mean [sd]

    def most_apart(self) -> str:
        """The parameters with the largest pulls."""
        names = sorted(self.pulls, key=lambda name: -abs(self.pulls[name]))[:N_APART]
        return ", ".join(f"{name} {self.pulls[name]:+.1f} sd" for name in names)


@dataclass(frozen=True, eq=False, repr=False)
class CombinedCatalogues:
    """What `combine_catalogues` returns."""

    posterior: GalaxyPosterior
    """Posterior of (alpha_imf, log10_n_ia) given all catalogues."""
    names: tuple[str, ...]
    """Common parameters: those of the galaxy, yield factors and slopes."""
    draws: Float[np.ndarray, "draw common"]
    """Of these, in the units of the second interval."""
    catalogues: tuple[Catalogue, ...]
    """The second intervals that were combined."""
    agreement: tuple[Agreement, ...]
    """Of each catalogue with the others."""
    slope_error: float
    """Scale of the errors that each catalogue has in the slopes [dex per dex]."""
    seed: int
    """Of the draws."""

    @property
    def agrees(self) -> bool:
        """Whether no catalogue is too unusual, given the others."""
        return min(a.p for a in self.agreement) * len(self.agreement) >= MIN_P

    @property
    def warnings(self) -> list[str]:
        """Reasons to doubt the common interval."""
        found = []
        if not self.agrees:
            i = int(np.argmin([a.p for a in self.agreement]))
            one = self.agreement[i]
            found.append(
                f"The catalogues contradict each other: {self.catalogues[i].name} is "
                f"unusual, given the others (chi2 {one.chi2:.1f} of "
                f"{one.n_directions} directions, p = {one.p:.2g}; most apart: "
                f"{one.most_apart()}). Do not quote the common interval. Are they of "
                "one galaxy, and are their errors and zero points right?"
            )
        found += [
            f"The verdict of {c.name} itself is red: read its report.html first."
            for c in self.catalogues
            if c.level == "red"
        ]
        return found

    def summary(self) -> dict:
        """Content of combined.json."""
        each = {}
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            about = {"n_used": c.n_used, "verdict": c.level}
            each[c.name] = _interval(c) | about | {"agreement": a._asdict()}
        yields = dict(zip(self.names, self.draws.T, strict=True))
        return self.posterior.interval() | {
            "correlation": self.posterior.correlation,
            "agrees": self.agrees,
            "warnings": self.warnings,
            "catalogues": each,
            "yields": {
                name: {"mean": float(x.mean()), "sd": float(x.std(ddof=1))}
                for name, x in list(yields.items())[N_GLOBAL:]
            },
            "slope_error": self.slope_error,
            "seed": self.seed,
            "version": package_version(),
        }

    def to_table(self) -> Table:
        """The draws of the common parameters as an astropy table, with units."""
        about = {
            "description": "Draws of equal weight from the posterior of what several "
            "catalogues of one galaxy have in common",
            "method": "combined",
            "catalogues": [c.name for c in self.catalogues],
            "slope_error": self.slope_error,
            "provenance": {"version": package_version(), "seed": self.seed},
        }
        each = zip(self.names, self.draws.T, strict=True)
        columns = [Column(x, name=name, unit=unit_of(name)) for name, x in each]
        return Table(columns, meta=about)

    def plot(self, truth: Sequence[float] | None = None) -> "Figure":
        """Regions of 1 and 2 sigma of each catalogue and of all together."""
        from chemsbi_jax.plots.shared_errors import plot_catalogues

        intervals = {c.name: _moments(c) for c in self.catalogues}
        own = self.posterior.mean, self.posterior.covariance
        return plot_catalogues(intervals, own, truth)

    def save(
        self, folder: str | os.PathLike, *, truth: Sequence[float] | None = None
    ) -> dict:
        """Write combined.ecsv, combined.png and, last, combined.json.

        Returns:
            The content of combined.json.

        Raises:
            OutputError: a file can't be written.
        """
        from chemsbi_jax.plots import save_figure

        folder, summary = Path(folder), self.summary()
        results.write_ecsv(folder / "combined.ecsv", self.to_table())
        save_figure(self.plot(truth), folder / "combined.png")
        results.write_summary(folder / "combined.json", summary)
        return summary

    def __repr__(self) -> str:
        width = max(len(c.name) for c in self.catalogues)
        width = max(width, len("all together"))
        lines = [
            f"{'':{width}}  alpha_imf         log10_n_ia        p, given the others"
        ]
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            lines.append(f"{c.name:{width}}  {_text(*_moments(c))}  {a.p:.2g}")
        own = self.posterior.mean, self.posterior.covariance
        lines.append(f"{'all together':{width}}  {_text(*own)}")
        return "\n".join(lines + [f"Warning: {text}" for text in self.warnings])


def combine_catalogues(
    catalogues: Mapping[str, Source],
    *,
    slope_error: float = SLOPE_ERROR,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> CombinedCatalogues:
    """The second interval of one galaxy from several catalogues of its stars.

    The galaxy's parameters and the yields are common to all catalogues. Zero points,
    scatter and populations are independent. So are errors of the slopes of the yields,
    as an error of an abundance that changes with [Fe/H] looks like a slope. The
    posteriors, taken as normal, are multiplied, with all priors but one divided out.

    Args:
        catalogues: name -> result of `infer`, or the folder of its files.
        slope_error: standard deviation of the errors of the slopes [dex per dex of
            [Fe/H]], independent for each catalogue; 0: none.
        n_draws: of the common posterior.
        seed: of these draws.

    Raises:
        InputError: a catalogue has no second interval, two are equal, or their priors
            differ.
    """
    if not 0.0 <= slope_error < np.inf:
        raise InputError(f"Expected a slope_error of 0 or more; got {slope_error}.")
    found = tuple(read_catalogue(name, source) for name, source in catalogues.items())
    require_comparable(found)
    names, prior = found[0].parameters, prior_of(found[0].scales)
    errors = [slope_error * (name in YIELD_SLOPES) for name in names]
    variance = (np.array(errors) / np.diag(prior.root)) ** 2
    own = [information_of(prior.apply(c.draws)) for c in found]
    common = [with_own_errors(part, variance) for part in own]
    agreement = []
    for i, part in enumerate(own):
        one = surprise_of(part, common[:i] + common[i + 1 :], variance)
        pulls = dict(zip(names, one.pulls.tolist(), strict=True))
        agreement.append(Agreement(one.chi2, one.n_directions, one.p, pulls))
    both = posterior_of(common)
    # by Cholesky, as the signs of other factors change with the last digit
    draw = np.random.default_rng(seed).multivariate_normal
    noise = draw(*both, size=n_draws, method="cholesky")
    covariance = prior.root @ both.covariance @ prior.root.T
    mean, draws, first = prior.undo(both.mean), prior.undo(noise), slice(N_GLOBAL)
    posterior = GalaxyPosterior(
        "combined", draws[:, first], mean[first], covariance[first, first], {}
    )
    about = found, tuple(agreement), slope_error, seed
    return CombinedCatalogues(posterior, names, draws, *about)


def _moments(c: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    galaxy = c.draws[:, :N_GLOBAL]
    return galaxy.mean(axis=0), np.cov(galaxy.T)


def _interval(c: Catalogue) -> dict:
    galaxy = c.draws[:, :N_GLOBAL]
    return GalaxyPosterior("hierarchical", galaxy, *_moments(c), {}).interval()


def _text(mean: ArrayLike, covariance: ArrayLike) -> str:
    sd = np.sqrt(np.diag(np.asarray(covariance)))
    return "  ".join(
        f"{m:7.3f} ± {s:.3f}" for m, s in zip(np.asarray(mean), sd, strict=True)
    )
