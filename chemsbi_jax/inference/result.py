"""`Inference`: a posterior with checks, as numbers, sentences, figures and files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import results
from chemsbi_jax.catalog.report import Report
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.amortised.table import StarTable
from chemsbi_jax.galaxy.automatic import prefixes
from chemsbi_jax.galaxy.checks import StarDraws
from chemsbi_jax.galaxy.guided import guided_prefixes
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.rows import host_generator
from chemsbi_jax.inference.checks import Checks
from chemsbi_jax.inference.problem import unread_times
from chemsbi_jax.inference.rows import add_rows, save_rows
from chemsbi_jax.inference.shared import (
    say_which,
    shared_block,
    shared_draws,
    shared_figures,
)
from chemsbi_jax.inference.text import as_html, as_text
from chemsbi_jax.options import Limits
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.results.warnings import list_warnings
from chemsbi_jax.storage.files import plain, whole_file
from chemsbi_jax.types import AMORTISED, AnyArray, GalaxyPosterior, Stars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST_INTERVAL = "First interval (without shared errors)"
SHARED_TABLE = "posterior_shared.ecsv"  # draws of the second interval
N_SAVED_DRAWS = 100  # draws of each star in posterior.nc

Truth = Sequence[float] | Float[AnyArray, " 2"]
"""Known (alpha_imf, log10_n_ia), for the figures."""


class FigureKeys(NamedTuple):
    """Random keys of the figures."""

    prefixes: Key[Array, ""]
    noise: Key[Array, ""]


@dataclass(frozen=True, eq=False, repr=False)
class Inference:
    """What `infer` returns."""

    posterior: GalaxyPosterior
    """Posterior of (alpha_imf, log10_n_ia) given all stars."""
    checks: Checks
    """All checks; `checks.as_dict()` is the block of summary.json."""
    others: Mapping[str, GalaxyPosterior]
    """Label -> posterior by other methods, for comparison."""
    stars: Stars
    """Stars of the checks and figures: all used ones, or a random subset of many."""
    draws: StarDraws
    """Posterior draws of each of these stars by itself."""
    table: StarTable | None
    """These stars as inputs of the amortised methods; None if no posterior network was
    used."""
    networks: Networks
    """Posterior network and forward model."""
    n_stars: int
    """Stars that were given."""
    n_used: int
    """Stars that the posterior used."""
    report: Report | None
    """What became of the rows of the table; None for stars without a table."""
    provenance: Mapping
    """Version, seed, names of the networks, checksum of the table."""
    limits: Limits
    """Numbers of stars at which methods change."""
    key: Key[Array, ""]
    """Random key of the figures."""
    watch: Stopwatch
    """Seconds of the stages."""
    shared_errors: HierarchicalPosterior | None = None
    """The interval with errors that all stars share; None if it was not made."""
    shared_note: str = ""
    """Why there is no such interval, or how and from which stars it was made."""
    call: str = "chemsbi_jax.infer(...)"
    """The call of `infer` that repeats this result."""

    @cached_property
    def _keys(self) -> "FigureKeys":
        return FigureKeys(*jax.random.split(self.key, len(FigureKeys._fields)))

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences for the reader of the result, those of the table last."""
        own = list_warnings(self.checks.as_dict())
        if self.shared_errors is not None and self.shared_errors.is_converged:
            # else "the interval" would be read as the one to quote
            own = [say_which(text) for text in own]
        reader, method = self.networks.npe.reader, self.posterior.method
        own += unread_times(reader, self.stars, method)
        shared = self.shared_errors
        if shared is not None and not shared.is_converged:
            own.append(self.shared_note)
        elif shared is not None:
            misfit = shared.misfit_text()
            own += [misfit] if misfit else []
            own += shared.doubts()
        return own + list(self._of_table)

    @property
    def _of_table(self) -> tuple[str, ...]:
        return self.report.warnings if self.report else ()

    @property
    def verdict(self) -> results.Verdict:
        """Whether the interval can be quoted: green, amber or red, and why."""
        return results.verdict(self.summary())

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> wall-clock time [s]."""
        return dict(self.watch.seconds)

    def summary(self) -> dict:
        """Content of summary.json: plain numbers, strings, lists and dicts."""
        n_own = len(self.warnings) - len(self._of_table)  # `add_rows` adds the others
        content = results.summary(
            self._saved(),
            n_stars=self.n_stars,
            n_used=self.n_used,
            warnings=self.warnings[:n_own],
            seconds=self.seconds,
            provenance=self.provenance,
        )
        if self.shared_errors is not None:
            content["shared_errors"] = plain(shared_block(self.shared_errors))
        if self.shared_note:
            content["shared_errors_note"] = self.shared_note
        if self.report is not None:
            content = add_rows(content, self.report)
        return content | {"verdict": results.verdict(content)._asdict()}

    def plot_posterior(self, truth: Truth | None = None) -> "Figure":
        """The first interval, with prior and other methods."""
        from chemsbi_jax import plots

        prior = self.networks.npe.prior[:N_GLOBAL]
        mean = [float(d.mean) for d in prior]
        sd = [float(d.variance) ** 0.5 for d in prior]
        results = self.posterior, truth, (mean, sd), self.others
        return plots.plot_galaxy(*results, heading=FIRST_INTERVAL)

    def plot_convergence(self, truth: Truth | None = None) -> "Figure":
        """Mean and width of the posterior of 1, 2, 5, 10, ... random stars."""
        from chemsbi_jax import plots

        method = self.posterior.method
        name = method if method in AMORTISED else f"flow (last point: {method})"
        name = "exact" if self.table is None else name
        return plots.plot_convergence(*self.prefixes, truth, name=name)

    def plot_predictive(self) -> "Figure":
        """Observed abundances beside those that the model predicts."""
        from chemsbi_jax import plots

        return plots.plot_predictive(self.stars, self._predicted())

    def plot_first_star(self) -> "Figure":
        """Posterior of all six parameters of the first star, with the prior."""
        from chemsbi_jax import plots

        draws = self.draws
        return plots.plot_corner(draws.of_first, PARAMETERS, prior_draws=draws.prior)

    @cached_property
    def prefixes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of stars (k,), means (k, 2), standard deviations (k, 2)."""
        key, stars = self._keys.prefixes, self.stars
        if self.table is None:
            return guided_prefixes(key, self.networks, stars, self.posterior)
        return prefixes(
            key,
            self.networks,
            stars,
            self.table,
            self.posterior,
            self.checks.subset,
            self.limits,
        )

    def _predicted(self) -> Float[np.ndarray, "draw star element"]:
        clean = np.swapaxes(self.draws.predicted, 0, 1)
        draw = host_generator(self._keys.noise)
        noise = draw.standard_normal(clean.shape, np.float32)
        return clean + np.nan_to_num(self.stars.errors) * noise

    def save(
        self,
        folder: str | os.PathLike,
        *,
        truth: Truth | None = None,
        command: str | None = None,
        drawn: Mapping[str, bytes] | None = None,
    ) -> dict:
        """Write all files of a result; each appears whole, summary.json last.

        posterior.png, convergence.png, first_star.png, predictive.png, posterior.nc,
        posterior.ecsv, report.html and summary.json. With a second interval also
        posterior_shared.ecsv, shared_errors.png, width_budget.png and, if yield factors
        are free, yield_factors.png; with dropped rows of the table, dropped_rows.csv.
        Summary, report and figures of an earlier run in this folder are deleted first.

        Args:
            folder: made if it is not there.
            truth: marked in the figures, if known.
            command: the command that repeats the run, for report.html; None: `call`.
            drawn: all figures of `draw_figures`, if at hand; others are deleted.

        Returns:
            The content of summary.json.

        Raises:
            OutputError: a file can't be written.
        """
        from chemsbi_jax import plots

        folder = Path(folder)
        drawn = self.draw_figures(truth) if drawn is None else drawn
        with self.watch("files"):
            results.delete_earlier(folder, keep=drawn)
            for name, content in drawn.items():
                with whole_file(folder / f"{name}.png") as path:
                    path.write_bytes(content)
            further = self.plot_shared_errors(truth)
            for name, figure in further.items():
                plots.save_figure(figure, folder / f"{name}.png")
            few = self.draws.theta[:, :N_SAVED_DRAWS]
            path = folder / "posterior.nc"
            shared = shared_draws(self.shared_errors)
            results.write_posterior(path, self._saved(), self.stars, few, shared)
        if self.report is not None:
            save_rows(folder, self.report)
        summary = self.summary()
        self._write_tables(folder, summary["provenance"])
        results.write_report(
            folder / "report.html",
            summary,
            results.read_figures(folder),
            summary.get("catalogue"),
            self.call if command is None else command,
        )
        results.write_summary(folder / "summary.json", summary)
        return summary

    def _write_tables(self, folder: Path, about: Mapping) -> None:
        """Draws of both intervals; that of an earlier run does not stay."""
        results.write_table(folder / "posterior.ecsv", self._saved(), about)
        second, path = self.shared_errors, folder / SHARED_TABLE
        if second is None or not second.is_converged:
            path.unlink(missing_ok=True)
            return
        results.write_ecsv(path, second.to_table(about))

    def draw_figures(self, truth: Truth | None = None) -> dict[str, bytes]:
        """Name -> figure of the first interval, as a PNG file; needs no second one."""
        from chemsbi_jax import plots

        figures = {
            "posterior": lambda: self.plot_posterior(truth),
            "convergence": lambda: self.plot_convergence(truth),
            "first_star": self.plot_first_star,
            "predictive": self.plot_predictive,
        }
        with self.watch("figures"):
            return {name: plots.as_png(make()) for name, make in figures.items()}

    def _saved(self) -> GalaxyPosterior:
        return self.posterior._replace(checks=self.checks.as_dict())

    def plot_shared_errors(self, truth: Truth | None = None) -> dict[str, "Figure"]:
        """Name -> figure of the second interval; empty without one."""
        if self.shared_errors is None or not self.shared_errors.is_converged:
            return {}
        return dict(shared_figures(self.posterior, self.shared_errors, truth))

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)
