"""The network for any star against networks for one kind of star, and against NUTS.

    python experiments/any_star.py --out runs/any_star

For each kind of star (all abundances of the network, those of APOGEE, those of GALAH;
with and without birth times) trains a network for that kind alone, compares the
held-out log densities on the same stars, and the galaxy of 200 stars with NUTS. Writes
any_star.md and .json after each kind; a specialist that is in --out is not trained
again. `--n-epochs 0` leaves the specialists out.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common.reproduction.nuts_comparison import differences
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import npe as networks
from chemsbi_jax import priors, results
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.npe.measurements import StarKind
from chemsbi_jax.npe.model import global_latent_log_prob
from chemsbi_jax.npe.reading import as_table
from chemsbi_jax.storage.files import whole_file

KINDS: tuple[StarKind, ...] = ("complete", "apogee", "galah")
METHODS = ("flow", "gaussian", "exact")


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/any_star")
    """Folder for the table and the specialists."""
    weights: str = "tng-any"
    """The network for any star."""
    kinds: tuple[StarKind, ...] = KINDS
    """Kinds of stars."""
    n_test: int = 50_000
    """Held-out stars of each kind."""
    n_epochs: int = 40
    """Epochs of each network for one kind of stars (500 steps of 1024 stars);
    0 trains none."""
    n_stars: int = 200
    """Stars of the galaxy; 0 leaves NUTS out."""
    truth: tuple[float, float] = (-2.1, -2.6)
    """alpha_imf and log10_n_ia of the galaxy."""
    galaxies_only: bool = False
    """Take the log densities from any_star.json in --out; repeat only the galaxies."""
    seed: int = 5
    """Random seed."""
    quiet: bool = False
    """No progress."""


def main(config: Config) -> dict:
    """All kinds; returns the rows of the table."""
    known, rows = earlier_rows(config), []
    abundances = cs.load_npe(config.weights).reader.abundances
    for kind in config.kinds:
        for dated in (False, True):
            measure = networks.AnyErrors(kind, dated, abundances)
            rows.append(compare_kind(measure, config, known))
            left = [r for k, r in known.items() if k not in map(_kind_of, rows)]
            results.write_summary(config.out / "any_star.json", {"rows": rows + left})
            with whole_file(config.out / "any_star.md") as path:
                path.write_text(report(rows), encoding="utf-8")
    if not config.quiet:
        print(report(rows))
    return {"rows": rows}


def earlier_rows(config: Config) -> dict:
    """(kind, dated) -> the row of an earlier run."""
    if not config.galaxies_only:
        return {}
    path = config.out / "any_star.json"
    if not path.is_file():
        raise InputError(
            f"{path}: expected the rows of an earlier run; it is missing. Run once "
            "without --galaxies-only."
        )
    rows = json.loads(path.read_text())["rows"]
    return {_kind_of(r): r for r in rows}


def _kind_of(row: dict) -> tuple[str, bool]:
    return row["kind"], row["dated"]


def compare_kind(measure: networks.AnyErrors, config: Config, known: dict) -> dict:
    """One row: log densities of both networks, and the galaxy against NUTS."""
    key_test, key_train, key_galaxy = jax.random.split(jax.random.key(config.seed), 3)
    npe = cs.load_npe(config.weights)
    forward = Partial(cs.emulate, emulator=cs.load_emulator(config.weights))
    row = known.get((measure.kind, bool(measure.dated)))
    if row is None and config.galaxies_only:
        raise InputError(
            f"{config.out / 'any_star.json'}: expected a row of {measure.kind} stars; "
            "there is none. Leave --galaxies-only out."
        )
    if row is None:
        both = [npe]
        if config.n_epochs:
            both.append(train_specialist(key_train, measure, forward, config))
        row = compare_densities(key_test, both, forward, measure, config)
    if config.n_stars:
        galaxy = compare_galaxy(key_galaxy, npe, forward, measure, config)
        row = row | {"galaxy": galaxy}
    return row


def compare_densities(key, both: list, forward, measure, config: Config) -> dict:
    """Held-out log densities of the network for any star, and of the specialist."""
    theta, inputs = make_stars(key, both[0], forward, measure, config.n_test)
    density = [held_out(npe, theta, inputs) for npe in both]
    found = [{k: float(v.mean()) for k, v in d.items()} for d in density]
    row = {
        "kind": measure.kind,
        "dated": bool(measure.dated),
        "log_prob": found[0],
    }
    if len(both) == 1:
        return row
    spread = density[0]["all"] - density[1]["all"]
    error = float(spread.std() / len(spread) ** 0.5)
    return row | {"specialist": found[1], "difference_error": error}


def train_specialist(key, measure, forward, config: Config) -> networks.Npe:
    """A network for this kind of star only."""
    name = f"{measure.kind}{'_dated' if measure.dated else ''}"
    folder = config.out / name
    if (folder / "npe.safetensors").is_file():
        return cs.load_npe(folder)
    prior = cs.paper_prior()
    fit = FitConfig(n_epochs=config.n_epochs, steps_per_epoch=500)
    recipe = replace(networks.NpeConfig(), measure=measure, fit=fit)
    stars = networks.FreshStars(forward, prior)
    npe, _ = networks.train_npe(key, stars, prior, recipe, quiet=config.quiet)
    networks.save_npe(folder, npe, recipe, {"made_by": "any_star.py"})
    return npe


def make_stars(key, npe, forward, measure, n: int, truth=None):
    """Theta and inputs of noisy stars from the prior, of one galaxy or of many."""
    key_theta, key_noise = jax.random.split(key)
    theta = priors.sample(key_theta, npe.prior, n)
    if truth is not None:
        theta = theta.at[:, :N_GLOBAL].set(jnp.array(truth))
    inputs = np.asarray(measure.observe(key_noise, forward(theta), theta[:, -1]))
    good = np.isfinite(inputs).all(axis=1)
    return np.asarray(theta)[good], inputs[good]


def held_out(npe, theta: np.ndarray, inputs: np.ndarray) -> dict:
    """Log density of all six parameters of each star, and of the two global latents."""
    at, read = jnp.asarray(theta), jnp.asarray(inputs)
    latent = priors.to_normal(npe.prior, at)[:, :N_GLOBAL]
    of_all = eqx.filter_jit(networks.log_prob)(npe, at, read)
    of_galaxy = eqx.filter_jit(global_latent_log_prob)(npe, latent, read)
    return {"all": np.asarray(of_all), "galaxy": np.asarray(of_galaxy)}


def compare_galaxy(key, npe, forward, measure, config: Config) -> dict:
    """Each method against NUTS on one galaxy with this kind of stars."""
    key_stars, key_nuts, key_method, key_c2st = jax.random.split(key, 4)
    many = 2 * config.n_stars  # some of them the model does not have
    _, inputs = make_stars(key_stars, npe, forward, measure, many, config.truth)
    stars = as_table(inputs[: config.n_stars], measure.abundances)
    nuts = run_nuts(key_nuts, forward, stars, npe, quiet=config.quiet)
    compared = {
        method: differences(
            key_c2st,  # key reuse: the same folds for all methods
            cs.infer_galaxy(
                key_method,  # key reuse: common random numbers
                npe,
                stars,
                method,
                forward=forward,
            ),
            nuts.posterior,
        )
        for method in METHODS
    }
    posterior = nuts.posterior
    return {
        "nuts": {
            "mean": posterior.mean,
            "sd": np.sqrt(np.diag(posterior.covariance)),
            "convergence": nuts.convergence,
        },
        "methods": compared,
    }


def report(rows: list[dict]) -> str:
    """A table in Markdown."""
    lines = [
        "| stars | birth times | any: nats | specialist | difference "
        "| of the two | flow: shift [sigma], widths | exact: shift, widths | NUTS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        a, b = r["log_prob"], r.get("specialist")
        cells = [r["kind"], "yes" if r["dated"] else "no", f"{a['all']:.3f}"]
        if b is None:
            cells += ["not trained", "", ""]
        else:
            difference = f"{a['all'] - b['all']:+.3f} ± {r['difference_error']:.3f}"
            cells += [f"{b['all']:.3f}", difference]
            cells += [f"{a['galaxy'] - b['galaxy']:+.3f}"]
        cells += galaxy_cells(r["galaxy"]) if "galaxy" in r else ["", "", "not run"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def galaxy_cells(galaxy: dict) -> list[str]:
    """Flow and exact against NUTS, with the convergence of NUTS."""
    cells = []
    for method in ("flow", "exact"):
        found = galaxy["methods"][method]
        shift, width = found["shift_sigma"], found["width_ratio"]
        cells.append(
            f"{shift[0]:+.2f}, {shift[1]:+.2f}; {width[0]:.2f}, {width[1]:.2f}"
        )
    convergence = galaxy["nuts"]["convergence"]
    told = "converged" if convergence["converged"] else "**not converged**"
    return [*cells, f"{told} ({convergence['divergences']} divergences)"]


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
