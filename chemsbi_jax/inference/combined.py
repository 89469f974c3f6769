"""`CombinedCatalogues`: the table, the figure and the files."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax import results
from chemsbi_jax.constants import N_GLOBAL, YIELD_SLOPES
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.combine import CORRELATION
from chemsbi_jax.galaxy.hierarchical.result import describe, unit_of
from chemsbi_jax.inference.catalogues import Catalogue
from chemsbi_jax.inference.comparable import repeated_stars
from chemsbi_jax.inference.result import Truth
from chemsbi_jax.storage.files import package_version, whole_file
from chemsbi_jax.types import GalaxyPosterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_P = 0.01  # of the most unusual catalogue, times their number
N_APART = 3  # parameters that are named
TOGETHER = "all together"


class Agreement(NamedTuple):
    """How unusual a catalogue is, given the others."""

    chi2: float
    n_directions: int  # degrees of freedom: combinations that the stars constrain
    p: float
    pulls: dict[str, float]  # narrowed parameter -> sd from the expected mean

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
        found = [] if self.agrees else [self._contradiction()]
        found += repeated_stars(self.catalogues)
        if not set(YIELD_SLOPES) & set(self.names):
            found.append(
                "The slopes of the yields are held in all runs: an error of them moves "
                "all catalogues together, and is not in the common interval. Repeat "
                "`chemsbi infer` without --hold yields."
            )
        advice = {"red": "Do not quote the common interval", "amber": "Read its report"}
        found += [
            f"The verdict of {c.name} itself is {c.about.level}. {c.about.reason} "
            f"{advice[c.about.level]}."
            for c in self.catalogues
            if c.about.level in advice
        ]
        return found

    @property
    def level(self) -> str:
        """Green (quote the common interval), amber (read the warnings) or red (do not).

        Red: the catalogues contradict each other, or one of them is red itself.
        """
        if not self.agrees or any(c.about.level == "red" for c in self.catalogues):
            return "red"
        return "amber" if self.warnings else "green"

    def _contradiction(self) -> str:
        i = int(np.argmin([a.p for a in self.agreement]))
        one = self.agreement[i]
        return (
            f"The catalogues contradict each other: {self.catalogues[i].name} is "
            f"unusual, given the others (chi2 {one.chi2:.1f} of {one.n_directions} "
            f"directions, p = {one.p:.2g}; most apart: {one.most_apart()}). Do not "
            "quote the common interval. Are they of one galaxy, and are their errors "
            "and zero points right?"
        )

    def summary(self) -> dict:
        """Content of combined.json."""
        each = {}
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            about = {
                "n_used": c.about.n_used,
                "verdict": c.about.level,
                "stars": c.about.stars,
                "version": c.about.version,
                "agreement": a._asdict(),
            }
            each[c.name] = _own(c).interval() | about
        both = {k: describe(x) for k, x in zip(self.names, self.draws.T, strict=True)}
        galaxy = self.posterior.interval()  # mean and sd without the noise of draws
        return {k: both[k] | galaxy[k] for k in galaxy} | {
            "correlation": self.posterior.correlation,
            "verdict": self.level,
            "agrees": self.agrees,
            "warnings": self.warnings,
            "catalogues": each,
            "yields": {k: both[k] for k in self.names[N_GLOBAL:]},
            "settings": self._settings(),
            "version": package_version(),
        }

    def _settings(self) -> dict:
        return {
            "slope_error": self.slope_error,
            "correlation_of_errors": CORRELATION,
            "seed": self.seed,
            "n_draws": len(self.draws),
        }

    def to_table(self) -> Table:
        """The draws of the common parameters as an astropy table, with units."""
        about = {
            "description": "Draws of equal weight from the posterior of what several "
            "catalogues of one galaxy have in common",
            "method": "combined",
            "catalogues": {c.name: c.about.stars for c in self.catalogues},
            "provenance": {"version": package_version()} | self._settings(),
        }
        each = zip(self.names, self.draws.T, strict=True)
        columns = [Column(x, name=name, unit=unit_of(name)) for name, x in each]
        return Table(columns, meta=about)

    def plot(self, truth: Truth | None = None) -> "Figure":
        """Ellipses of 1 sigma of each catalogue, and of 1 and 2 sigma of all together.

        Raises:
            InputError: `truth` is not two numbers.
        """
        from chemsbi_jax.plots.shared_errors import plot_catalogues

        if truth is not None and np.shape(truth) != (N_GLOBAL,):
            raise InputError(
                "Expected alpha_imf and log10_n_ia as truth; got an array of shape "
                f"{np.shape(truth)}."
            )
        own = {c.name: _own(c) for c in self.catalogues}
        intervals = {name: (p.mean, p.covariance) for name, p in own.items()}
        both = self.posterior.mean, self.posterior.covariance
        known = None if truth is None else np.asarray(truth)
        name = "together" if self.level != "red" else "together (do not quote)"
        return plot_catalogues(intervals, {name: both}, known)

    def plot_yields(self) -> "Figure":
        """Yield factors and slopes of each catalogue and of all, over their priors.

        Raises:
            InputError: all of them are held.
        """
        from chemsbi_jax.plots.shared_errors import plot_yields_of_catalogues

        names = self.names[N_GLOBAL:]
        if not names:
            raise InputError("Expected free yields; all are held. Repeat `infer`.")

        def of(draws: Float[np.ndarray, "draw common"]) -> dict:
            columns = dict(zip(self.names, draws.T, strict=True))
            return {name: describe(columns[name]) for name in names}

        each = {c.name: of(c.draws) for c in self.catalogues}
        prior = dict(self.catalogues[0].scales)
        return plot_yields_of_catalogues(each, of(self.draws), prior)

    def save(self, folder: str | os.PathLike, *, truth: Truth | None = None) -> dict:
        """Write combined.ecsv, .md and .png, yields.png and, last, combined.json.

        The combined.json of an earlier run in this folder is deleted first. There is
        no yields.png if all yields are held.

        Returns:
            The content of combined.json.

        Raises:
            InputError: `truth` is not two numbers.
            OutputError: a file can't be written.
        """
        from chemsbi_jax.plots import save_figure

        folder, summary, figure = Path(folder), self.summary(), self.plot(truth)
        for name in ("combined.json", "yields.png"):  # of an earlier run
            (folder / name).unlink(missing_ok=True)
        results.write_ecsv(folder / "combined.ecsv", self.to_table())
        save_figure(figure, folder / "combined.png")
        if self.names[N_GLOBAL:]:
            save_figure(self.plot_yields(), folder / "yields.png")
        with whole_file(folder / "combined.md") as path:
            path.write_text(self.markdown(), encoding="utf-8")
        results.write_summary(folder / "combined.json", summary)
        return summary

    def markdown(self) -> str:
        """The table of the catalogues, as Markdown."""
        lines = [
            "| catalogue | stars | verdict | alpha_imf, log10_n_ia | chi2, given the "
            "others | p |",
            "|---|---|---|---|---|---|",
        ]
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            about = (c.about.n_used, c.about.level)
            chi2 = f"{a.chi2:.1f} of {a.n_directions} directions"
            cells = [" ".join(c.name.replace("|", r"\|").split())]
            cells += ["" if x is None else str(x) for x in about]
            cells += [_text(_own(c), ", "), chi2, f"{a.p:.2g}"]
            lines.append(f"| {' | '.join(cells)} |")
        text = _text(self.posterior, ", ")
        text = text if self.level == "red" else f"**{text}**"
        lines.append(f"| {TOGETHER} | | {self.level} | {text} | | |")
        return "\n".join([*lines, *(f"\n{text}" for text in self.warnings)]) + "\n"

    def __repr__(self) -> str:
        names = [*(c.name for c in self.catalogues), TOGETHER]
        width = max(map(len, names))
        columns = f"{'alpha_imf':18}{'log10_n_ia':18}p, given the others"
        lines = [f"{'':{width}}  {columns}"]
        for c, a in zip(self.catalogues, self.agreement, strict=True):
            lines.append(f"{c.name:{width}}  {_text(_own(c), '    ')}    {a.p:.2g}")
        lines.append(f"{TOGETHER:{width}}  {_text(self.posterior, '    ')}")
        lines.append(f"Verdict: {self.level}.")
        return "\n".join(lines + [f"Warning: {text}" for text in self.warnings])


def _own(c: Catalogue) -> GalaxyPosterior:
    """The second interval of a catalogue by itself."""
    galaxy = c.draws[:, :N_GLOBAL]
    moments = galaxy.mean(axis=0), np.cov(galaxy.T)
    return GalaxyPosterior("hierarchical", galaxy, *moments, {})


def _text(posterior: GalaxyPosterior, between: str) -> str:
    each = zip(np.asarray(posterior.mean), posterior.sd, strict=True)
    return between.join(f"{mean:.3f} ± {sd:.3f}" for mean, sd in each)
