"""`YieldComparison`: the table, the mixture, the figures and the files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.inference.comparison_text import markdown
from chemsbi_jax.inference.loo import BAD_K, stacking_weights
from chemsbi_jax.results import write_summary
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.types import GalaxyChecks, GalaxyPosterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_MIXTURE_DRAWS = 4000
MIXTURE_SEED = 1  # of the choice of draws, which are random already


class SetRecord(NamedTuple):
    """Result of one yield set for the stars, as its JSON file has it."""

    name: str
    sha256: str  # of the yields
    settings: Mapping = {}  # of the comparison
    rms_dex: Mapping = {}  # error of the emulator by abundance; empty: not trained here
    failed: str = ""  # why there is no posterior; then the fields below are empty
    mean: Sequence[float] = ()  # alpha_imf, log10_n_ia
    covariance: Sequence[Sequence[float]] = ()
    draws: Sequence[Sequence[float]] = ()  # some draws of the posterior
    ln_z: float = float("nan")  # of the stars that the set explains
    ln_z_error: float = float("nan")  # standard deviation, Monte Carlo
    elpd: Sequence[float | None] = ()  # of each star left out; None: not explained
    k_hat: Sequence[float | None] = ()
    p_loo: float = float("nan")
    element: Mapping[str, float | None] = {}  # abundance -> log density, a star
    flagged: bool = False  # the misfit alarm
    p_value: float = float("nan")
    text: str = ""  # of the alarm
    residual: Mapping[str, float | None] = {}  # observed minus expected [dex]
    residual_error: Mapping[str, float | None] = {}  # dex
    left_out: Sequence[int] = ()  # rows that no parameters explain
    seconds: Mapping[str, float] = {}

    @property
    def sd(self) -> Float[np.ndarray, " 2"]:
        """Standard deviations of the two parameters."""
        return np.sqrt(np.diag(np.asarray(self.covariance, float)))


@dataclass(frozen=True, eq=False, repr=False)
class YieldComparison:
    """What `compare_yields` returns."""

    records: tuple[SetRecord, ...]
    """One for each set, in the order of the names; also those that failed."""
    settings: Mapping
    """Seed, checksum of the stars, and what else decides the numbers."""
    n_stars: int
    """Stars of the table."""

    @cached_property
    def fitted(self) -> tuple[SetRecord, ...]:
        """The sets that have a posterior."""
        return tuple(r for r in self.records if not r.failed)

    @cached_property
    def is_common(self) -> Bool[np.ndarray, " star"]:
        """Stars that every set explains: evidences and densities are of these."""
        common = np.ones(self.n_stars, bool)
        for record in self.fitted:
            common[list(record.left_out)] = False
        return common

    @cached_property
    def elpd(self) -> dict[str, Float[np.ndarray, " star"]]:
        """Set -> log predictive density of each common star left out."""
        return {r.name: np.asarray(r.elpd, float)[self.is_common] for r in self.fitted}

    @cached_property
    def ln_z(self) -> dict[str, float]:
        """Set -> log marginal likelihood of the common stars.

        A star that another set does not explain is taken out by its predictive density
        given all others, which is exact for one star.
        """
        found = {}
        for r in self.fitted:
            extra = np.asarray(r.elpd, float)[~self.is_common]
            found[r.name] = r.ln_z - float(np.nansum(extra))
        return found

    @cached_property
    def probability(self) -> dict[str, float]:
        """Set -> posterior probability, for equal prior ones."""
        if not self.ln_z:
            return {}
        values = np.array([*self.ln_z.values()])
        share = np.exp(values - values.max())
        return dict(zip(self.ln_z, (share / share.sum()).tolist(), strict=True))

    @cached_property
    def weights(self) -> dict[str, float]:
        """Set -> stacking weight, by ArviZ."""
        return stacking_weights(self.elpd) if self.is_common.any() else {}

    @cached_property
    def mixture(self) -> GalaxyPosterior | None:
        """Mixture of the posteriors by the stacking weights; None without a posterior.

        Its method is "stacking"; mean and covariance are those of the mixture.
        """
        if not self.weights:
            return None
        share = np.array([self.weights[r.name] for r in self.fitted])
        share = share.clip(0.0) / share.clip(0.0).sum()
        means = np.array([r.mean for r in self.fitted], float)
        inner = np.array([r.covariance for r in self.fitted], float)
        mean = share @ means
        away = means - mean
        covariance = np.einsum("s,sij->ij", share, inner)
        covariance = covariance + np.einsum("s,si,sj->ij", share, away, away)
        random = np.random.default_rng(MIXTURE_SEED)
        counts = random.multinomial(N_MIXTURE_DRAWS, share)
        draws = [
            random.choice(np.asarray(r.draws, float), n)
            for r, n in zip(self.fitted, counts, strict=True)
        ]
        checks: GalaxyChecks = {"weights": self.weights}
        return GalaxyPosterior(
            "stacking", np.concatenate(draws), mean, covariance, checks
        )

    @cached_property
    def scatter(self) -> Float[np.ndarray, " 2"]:
        """Standard deviation between the means of the sets, without weights."""
        means = np.array([r.mean for r in self.fitted], float).reshape(-1, 2)
        return means.std(axis=0, ddof=1) if len(means) > 1 else np.full(2, np.nan)

    @cached_property
    def formal_width(self) -> Float[np.ndarray, " 2"]:
        """Median over the sets of the standard deviation of one posterior."""
        if not self.fitted:
            return np.full(2, np.nan)
        return np.median([r.sd for r in self.fitted], axis=0)

    def n_bad_k(self, record: SetRecord) -> int:
        """Stars whose left-out density is not reliable (k-hat above 0.7)."""
        return int((np.asarray(record.k_hat, float) > BAD_K).sum())

    def table(self) -> str:
        """The comparison as text in Markdown."""
        return markdown(self)

    def summary(self) -> dict:
        """Content of comparison.json."""
        mixture = self.mixture
        return {
            "settings": self.settings,
            "n_stars": self.n_stars,
            "n_common": int(self.is_common.sum()),
            "ln_z": self.ln_z,
            "probability": self.probability,
            "elpd": {name: float(each.sum()) for name, each in self.elpd.items()},
            "stacking": self.weights,
            "mixture": None if mixture is None else mixture.interval(),
            "scatter_between_sets": self.scatter,
            "median_formal_sd": self.formal_width,
            "sets": [_short(r) for r in self.records],
        }

    def plot_posteriors(self) -> "Figure":
        """All posteriors in one plane, with the mixture."""
        from chemsbi_jax import plots

        each = {r.name: (r.mean, r.covariance) for r in self.fitted}
        mixture = self.mixture
        return plots.plot_yield_posteriors(
            each, None if mixture is None else np.asarray(mixture.draws)
        )

    def plot_residuals(self) -> "Figure":
        """Mean residual of each abundance for each set."""
        from chemsbi_jax import plots

        each = {r.name: r.residual for r in self.fitted}
        return plots.plot_yield_residuals(
            each, {r.name: r.residual_error for r in self.fitted}
        )

    def save(self, folder: str | os.PathLike) -> dict:
        """Write comparison.md, comparison.json, posteriors.png and residuals.png.

        Raises:
            OutputError: a file can't be written.
        """
        from chemsbi_jax import plots

        folder, summary = Path(folder), self.summary()
        if self.fitted:
            plots.save_figure(self.plot_posteriors(), folder / "posteriors.png")
            plots.save_figure(self.plot_residuals(), folder / "residuals.png")
        with whole_file(folder / "comparison.md") as path:
            path.write_text(self.table(), encoding="utf-8")
        write_summary(folder / "comparison.json", summary)
        return summary

    def __repr__(self) -> str:
        return self.table()


def _short(record: SetRecord) -> dict:
    """A record without its long columns."""
    long = ("draws", "elpd", "k_hat", "settings")
    content = {k: v for k, v in record._asdict().items() if k not in long}
    k_hat = np.asarray(record.k_hat, float)
    known = k_hat[np.isfinite(k_hat)]
    return content | {"largest_k_hat": float(known.max()) if len(known) else None}
