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
    Information,
    information_of,
    posterior_of,
    surprise_of,
    with_own_errors,
)
from chemsbi_jax.galaxy.hierarchical.result import NOT_NARROWED, unit_of
from chemsbi_jax.inference.catalogues import (
    Catalogue,
    Source,
    Whitening,
    prior_of,
    read_catalogue,
    require_comparable,
)
from chemsbi_jax.inference.result import Truth
from chemsbi_jax.storage.files import package_version, whole_file
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
    pulls: dict[
        str, float
    ]  # narrowed parameter -> distance from the expected mean [sd]

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

    def plot(self, truth: Truth | None = None) -> "Figure":
        """Regions of 1 and 2 sigma of each catalogue and of all together."""
        from chemsbi_jax.plots.shared_errors import plot_catalogues

        intervals = {c.name: _moments(c) for c in self.catalogues}
        own = self.posterior.mean, self.posterior.covariance
        known = None if truth is None else np.asarray(truth)
        return plot_catalogues(intervals, own, known)

    def save(self, folder: str | os.PathLike, *, truth: Truth | None = None) -> dict:
        """Write combined.ecsv, combined.md, combined.png and, last, combined.json.

        Returns:
            The content of combined.json.

        Raises:
            OutputError: a file can't be written.
        """
        from chemsbi_jax.plots import save_figure

        folder, summary = Path(folder), self.summary()
        results.write_ecsv(folder / "combined.ecsv", self.to_table())
        save_figure(self.plot(truth), folder / "combined.png")
        with whole_file(folder / "combined.md") as path:
            path.write_text(self.markdown(), encoding="utf-8")
        results.write_summary(folder / "combined.json", summary)
        return summary

    def markdown(self) -> str:
        """The table of the catalogues, as Markdown."""
        lines = [
            "| catalogue | stars | alpha_imf, log10_n_ia | "
            "chi2, given the others | p |",
            "|---|---|---|---|---|",
        ]
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            stars = "" if c.n_used is None else c.n_used
            chi2 = f"{a.chi2:.1f} of {a.n_directions} directions"
            numbers = _text(*_moments(c), between=", ")
            lines.append(f"| {c.name} | {stars} | {numbers} | {chi2} | {a.p:.2g} |")
        own = self.posterior.mean, self.posterior.covariance
        lines.append(f"| all together | | **{_text(*own, between=', ')}** | | |")
        return "\n".join([*lines, *(f"\n{text}" for text in self.warnings)]) + "\n"

    def __repr__(self) -> str:
        names = [*(c.name for c in self.catalogues), "all together"]
        width = max(map(len, names))
        heading = (
            f"{'':{width}}  alpha_imf{' ' * 9}log10_n_ia{' ' * 8}p, given the others"
        )
        own = self.posterior.mean, self.posterior.covariance
        intervals = [_text(*m) for m in (*map(_moments, self.catalogues), own)]
        p = [*(f"    {a.p:.2g}" for a in self.agreement), ""]
        rows = zip(names, intervals, p, strict=True)
        lines = [heading, *(f"{n:{width}}  {x}{y}" for n, x, y in rows)]
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
        InputError: a catalogue has no second interval or too few effective draws, two
            are equal, or their priors differ.
    """
    if not 0.0 <= slope_error < np.inf:
        raise InputError(f"Expected a slope_error of 0 or more; got {slope_error}.")
    found = tuple(read_catalogue(name, source) for name, source in catalogues.items())
    require_comparable(found)
    names, prior = found[0].parameters, prior_of(found[0].scales)
    errors = [slope_error * (name in YIELD_SLOPES) for name in names]
    variance = (np.array(errors) / np.diag(prior.root)) ** 2
    own = [information_of(prior.apply(c.draws), c.n_effective) for c in found]
    common = [with_own_errors(part, variance) for part in own]
    agreement = tuple(
        _agreement(part, common[:i] + common[i + 1 :], variance, names, prior)
        for i, part in enumerate(own)
    )
    both = posterior_of(common)
    # by Cholesky, as the signs of other factors change with the last digit
    draw = np.random.default_rng(seed).multivariate_normal
    noise = draw(*both, size=n_draws, method="cholesky")
    covariance = prior.root @ both.covariance @ prior.root.T
    mean, draws, first = prior.undo(both.mean), prior.undo(noise), slice(N_GLOBAL)
    posterior = GalaxyPosterior(
        "combined", draws[:, first], mean[first], covariance[first, first], {}
    )
    about = found, agreement, slope_error, seed
    return CombinedCatalogues(posterior, names, draws, *about)


def _agreement(
    part: Information,
    others: Sequence[Information],
    variance: Float[np.ndarray, " common"],
    names: Sequence[str],
    prior: Whitening,
) -> Agreement:
    """Chi2 and pulls, these of parameters that the catalogue narrows."""
    one = surprise_of(part, others, variance)
    away = prior.root @ one.away
    own, scatter, before = (
        np.sqrt(np.diag(prior.root @ covariance @ prior.root.T))
        for covariance in (
            posterior_of([part]).covariance,
            one.scatter,
            np.eye(len(names)),
        )
    )
    narrowed = np.flatnonzero(own < NOT_NARROWED * before)
    pulls = {names[i]: float(away[i] / scatter[i]) for i in narrowed}
    return Agreement(one.chi2, one.n_directions, one.p, pulls)


def _moments(c: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    galaxy = c.draws[:, :N_GLOBAL]
    return galaxy.mean(axis=0), np.cov(galaxy.T)


def _interval(c: Catalogue) -> dict:
    galaxy = c.draws[:, :N_GLOBAL]
    return GalaxyPosterior("hierarchical", galaxy, *_moments(c), {}).interval()


def _text(mean: ArrayLike, covariance: ArrayLike, between: str = "    ") -> str:
    sd = np.sqrt(np.diag(np.asarray(covariance)))
    each = zip(np.asarray(mean), sd, strict=True)
    return between.join(f"{m:.3f} ± {s:.3f}" for m, s in each)
