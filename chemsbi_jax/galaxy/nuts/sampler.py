"""Gold standard: NUTS over the galaxy and every star at once, by numpyro."""

import math
from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key
from numpyro.infer import NUTS
from numpyro.infer.hmc import HMCState
from tqdm import tqdm

from chemsbi_jax import priors
from chemsbi_jax.compute.devices import spread
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.nuts.convergence import check_convergence
from chemsbi_jax.galaxy.nuts.coordinates import Joint, make_joint, to_theta
from chemsbi_jax.galaxy.star_checks import check_stars, require_columns
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.types import AnyArray, Forward, GalaxyChecks, GalaxyPosterior, Stars

# batches of draws; from the fourth on, the convergence criteria are tested
MIN_BATCHES, MAX_BATCHES = 4, 20
MAX_WARMUPS = 3  # each in smaller units for steep stars
# step times the fourth root of the number of coordinates (Beskos+ 2013 for the power);
# the number is empirical: at 200 and 1000 stars, 80 % of the steps or more are accepted
STEP = 1.5
STEP_REDUCTION = 1.5  # factor between two tries
MAX_STEP = 0.25  # for few stars: their steepest places are as steep as those of many
# squared slope of a star: twice the mean of a standard normal, and its extreme draws
STEEP_MEAN, STEEP_MAX = 2.0 * N_LOCAL, 15.0 * N_LOCAL
MAX_SHRINK = 10.0  # factor of the units in one round
MIN_ACCEPT = 0.55  # below, the chains start again as after divergences
N_STAR_DRAWS = 100  # of each star, kept in the result
CHUNK = 20  # draws between two steps of the progress bar


class NutsResult(NamedTuple):
    """The posterior of the galaxy, and the convergence of the chains."""

    posterior: GalaxyPosterior
    star_draws: Float[np.ndarray, "star draw 6"]  # theta, thinned; NaN if left out
    convergence: dict


class Draws(NamedTuple):
    """States of the chains, in their coordinates."""

    at: dict[str, AnyArray]  # (chain, draw, ...) "galaxy" (2,) and "stars" (4, star)
    diverging: AnyArray  # (chain, draw)
    num_steps: AnyArray  # (chain, draw), gradients
    accept_prob: AnyArray  # (chain, draw)
    steepness: AnyArray  # (chain, draw, star), squared slope of the potential


@in_float32
def run_nuts(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior | None = None,
    *,
    n_chains: int = 2,
    n_warmup: int = 80,
    n_draws: int = 500,
    max_tree_depth: int = 4,
    step: float = STEP,
    n_tries: int = 4,
    quiet: bool = False,
) -> NutsResult:
    """Joint posterior over 2 global and 4 local parameters a star.

    Args:
        key: random key of the whole run.
        forward: theta (..., 6) -> abundances [dex]: the emulator or the simulator.
        stars: any errors, missing abundances and birth times are used as they are.
        npe: its prior is that of the result. Its flow only sets the coordinates, and
            shows which stars no parameters explain; these are left out.
        start: first guess of the global parameters; None computes one with the network.
        n_chains: side by side, shared out among the devices.
        n_warmup: steps that are not kept, per chain.
        n_draws: kept steps, per chain; a quarter of these more, up to five times as
            many in all, until r-hat and the effective sample size pass.
        max_tree_depth: at most 2 to this power of gradients a step.
        step: of the leapfrog, times the fourth root of the number of coordinates;
            at most `MAX_STEP`. The coordinates have unit curvature, so that nothing has
            to be adapted.
        n_tries: after divergences, or where too few steps are accepted, the chains
            go on from where they are with smaller steps, as often as this at most; the
            result is what the last try alone has drawn.
        quiet: no progress bar.
    """
    stars = check_stars(stars)
    require_columns(forward, stars)
    key_start, key_joint, key_run = jax.random.split(key, 3)
    joint, counts = make_joint(key_joint, forward, stars, npe, start, quiet)
    at = _initial_positions(key_start, int(counts.sum()), n_chains)
    n_coordinates = N_GLOBAL + N_LOCAL * int(counts.sum())
    for i in range(n_tries):
        size = min(step * n_coordinates**-0.25, MAX_STEP) / STEP_REDUCTION**i
        chains = Chains(joint, size, max_tree_depth + (i > 1), quiet)
        keys = jax.random.split(jax.random.fold_in(key_run, i), 2)
        chains, at = _warm_up(keys[0], chains, at, n_warmup)
        drawn, result = _draw_until_converged(keys[1], chains, at, n_draws, counts)
        if _is_sound(drawn) or i + 1 == n_tries:
            tries = {"tries": i + 1, "accepted": float(drawn.accept_prob.mean())}
            return result._replace(convergence=result.convergence | tries)
        softer, at = _shrink_steep_stars(chains, drawn)
        joint = softer.joint
    raise ValueError(f"Expected at least one try; got n_tries={n_tries}.")


def _warm_up(
    key: Key[Array, ""], chains: "Chains", at: dict, n: int
) -> tuple["Chains", dict]:
    """Chains in the bulk of the posterior, with units that keep their steps stable."""
    for k in jax.random.split(key, MAX_WARMUPS):
        drawn = chains.draw(k, at, n)
        chains, at = _shrink_steep_stars(chains, drawn)
        if _is_sound(drawn):
            break
    return chains, at


def _draw_until_converged(
    key: Key[Array, ""],
    chains: "Chains",
    at: dict,
    n: int,
    counts: Bool[np.ndarray, " star"],
) -> tuple[Draws, NutsResult]:
    """Draw until the convergence criteria pass, or at most MAX_BATCHES times."""
    parts, size = [], math.ceil(n / MIN_BATCHES)
    for k in jax.random.split(key, MAX_BATCHES):
        parts.append(chains.draw(k, at, size))
        at = _last(parts[-1])
        if not _is_sound(_joined(parts)):
            break
        if len(parts) >= MIN_BATCHES:
            result = _collect(_joined(parts), chains.joint, counts)
            if result.convergence["converged"]:
                break
    drawn = _joined(parts)
    return drawn, _collect(drawn, chains.joint, counts)


def _is_sound(drawn: Draws) -> bool:
    return not drawn.diverging.any() and float(drawn.accept_prob.mean()) > MIN_ACCEPT


class Chains(NamedTuple):
    """NUTS with a fixed step size, on one joint density."""

    joint: Joint
    step: float
    depth: int
    quiet: bool

    def draw(self, key: Key[Array, ""], at: dict, n: int) -> Draws:
        """The next `n` draws of each chain from where they are, (chain, ...)."""
        keys = jax.random.split(key, (math.ceil(n / CHUNK), len(at["galaxy"])))
        step, parts = jnp.asarray(self.step), []
        with tqdm(total=n, desc="nuts", unit="draw", disable=self.quiet) as bar:
            for some in keys:
                # all chunks of one length, so that nothing is compiled again
                part = _on_all_devices(_walk)((some, at), self.joint, step, self.depth)
                parts.append(jax.tree.map(np.asarray, part))
                at = _last(parts[-1])
                bar.update(min(CHUNK, n - bar.n))
        return jax.tree.map(lambda x: x[:, :n], _joined(parts))


def _shrink_steep_stars(chains: Chains, drawn: Draws) -> tuple[Chains, dict]:
    """Smaller units for stars with a steeper potential than a standard normal.

    The mean squared slope is the mean curvature (an identity of every density). A star
    at the end of the model's range would else make all steps unstable, even where it
    is steep in a few draws only.
    """
    late = drawn.steepness[:, drawn.steepness.shape[1] // 2 :]
    late = np.where(np.isfinite(late), late, STEEP_MAX)
    excess = np.maximum(
        late.mean(axis=(0, 1)) / STEEP_MEAN, late.max(axis=(0, 1)) / STEEP_MAX
    )
    factor = np.sqrt(np.clip(excess, 1.0, MAX_SHRINK**2)).astype(np.float32)
    stretch = chains.joint.stretch / factor[:, None, None]
    at = _last(drawn)
    at = at | {"stars": at["stars"] * factor}
    return chains._replace(joint=chains.joint._replace(stretch=stretch)), at


_on_all_devices = cache(spread)


def _walk(chains: tuple, joint: Joint, step: Array, depth: int) -> Draws:
    def one(chain: tuple) -> Draws:
        key, at = chain
        kernel = NUTS(
            potential_fn=joint.potential,
            step_size=step,  # pyright: ignore[reportArgumentType]  (traced)
            adapt_step_size=False,
            adapt_mass_matrix=False,
            max_tree_depth=depth,
        )

        def next_state(state: HMCState, _: None) -> tuple[HMCState, Draws]:
            state = kernel.sample(state, (), {})
            known = (state.z, state.diverging, state.num_steps, state.accept_prob)
            return state, Draws(*known, jnp.sum(state.z_grad["stars"] ** 2, axis=0))

        return lax.scan(next_state, kernel.init(key, 0, at), length=CHUNK)[1]

    return lax.map(one, chains)


def _last(drawn: Draws) -> dict[str, Any]:
    return jax.tree.map(lambda x: x[:, -1], drawn.at)


def _joined(parts: list[Draws]) -> Draws:
    return jax.tree.map(lambda *x: np.concatenate(x, axis=1), *parts)


def _initial_positions(
    key: Key[Array, ""], n_stars: int, n_chains: int
) -> dict[str, Array]:
    key_galaxy, key_stars = jax.random.split(key)
    return {
        "galaxy": jax.random.normal(key_galaxy, (n_chains, N_GLOBAL)),
        "stars": 0.5 * jax.random.normal(key_stars, (n_chains, N_LOCAL, n_stars)),
    }


def _collect(drawn: Draws, joint: Joint, counts: np.ndarray) -> NutsResult:
    first = joint.centre + drawn.at["galaxy"] @ joint.scale.T
    theta = priors.from_normal(tuple(joint.prior)[:N_GLOBAL], first)
    theta = np.asarray(theta, float)
    flat = theta.reshape(-1, N_GLOBAL)
    convergence = check_convergence(theta, np.asarray(drawn.diverging))
    convergence["gradients_per_draw"] = float(drawn.num_steps.mean())
    checks: GalaxyChecks = {"left_out": np.flatnonzero(~counts).tolist()}
    posterior = GalaxyPosterior(
        "nuts", flat, flat.mean(axis=0), np.cov(flat, rowvar=False), checks
    )
    # a fixed number, so that the number of draws causes no compilation
    rows = np.linspace(0, len(flat) - 1, N_STAR_DRAWS).astype(int)
    galaxy, stars = (
        drawn.at[k].reshape(-1, *drawn.at[k].shape[2:])[rows]
        for k in ("galaxy", "stars")
    )
    some = np.asarray(_to_theta(joint, galaxy, stars))
    star_draws = np.full((len(counts), len(some), some.shape[-1]), np.nan)
    star_draws[counts] = some.swapaxes(0, 1)
    return NutsResult(posterior, star_draws, convergence)


@eqx.filter_jit
def _to_theta(
    joint: Joint, galaxy: AnyArray, stars: AnyArray
) -> Float[Array, "draw star 6"]:
    latent = jax.vmap(lambda g, s: joint.to_latents(g, s)[0])(galaxy, stars)
    return to_theta(joint.prior, latent)
