r"""The products of a million stars: in blocks of one shape, with sums in float64.

A log density of N stars is about -N, of which float32 keeps seven digits: too few for
differences of 0.01 between grid points. So each star's value at the grid's centre is
subtracted, 32 stars are added in float32, and the rest in float64. The prior is last.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key
from tqdm import tqdm

from chemsbi_jax.compute.devices import of_all_processes
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.first_grid import (
    GUESS_STARS,
    GUESS_WIDTH,
    first_grid,
)
from chemsbi_jax.galaxy.amortised.flow import FARTHEST, outside
from chemsbi_jax.galaxy.amortised.gaussian import (
    N_STAR_DRAWS,
    StreamedGaussian,
    star_gains,
    star_moments,
)
from chemsbi_jax.galaxy.amortised.padding import Blocks, on_all_devices
from chemsbi_jax.galaxy.amortised.resume import (
    Load,
    Save,
    State,
    fingerprint,
    load_state,
    save_state,
    sum_blocks,
)
from chemsbi_jax.galaxy.amortised.uninformative import find_uninformative
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.grid import (
    GRID_WIDTH,
    MIN_CELL_VARIANCE,
    N_GRID,
    STEP,
    GridPosterior,
    draw_from_grid,
)
from chemsbi_jax.galaxy.result import grid_checks, mean_error, to_posterior
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.npe.model import Npe, features
from chemsbi_jax.storage.files import package_version
from chemsbi_jax.types import Forward, GalaxyChecks, GalaxyPosterior, Stars

BLOCK_STARS = 8192  # stars between two steps of the progress bar
TOO_WIDE, TOO_NARROW = 0.8, 1.2  # standard deviations in units of the grid's
OFF_CENTRE = 0.5  # grid units
MAX_PASSES = 10
CENTRE = N_GRID // 2
UNITS = np.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
N_GAINS = N_GLOBAL**2 + N_GLOBAL + 1  # precision, push, guarded


@in_float32
def stream_galaxy(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    method: str = "flow",
    n_draws: int = 4000,
    *,
    forward: Forward | None = None,
    checkpoint: Path | None = None,
    quiet: bool = True,
    block: int = BLOCK_STARS,
) -> GalaxyPosterior:
    """`infer_galaxy` by "flow" or "gaussian" of any number of stars, block by block.

    Time grows as the number of stars, and memory only by the table itself. All local
    devices share a block; several processes (`devices.join_processes`) that all call
    this take the blocks in turns.

    Args:
        key: determines the draws; the stars' keys depend on their rows alone.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`, the whole table in every process.
        method: "flow" or "gaussian".
        n_draws: draws from the result.
        forward: as in `infer_galaxy`.
        checkpoint: file with the partial sums. A repeated call after an interruption
            resumes from it, to the same bits; the caller deletes the file.
        quiet: no progress bar.
        block: stars at a time; it does not change the result.

    Raises:
        ValueError: unknown method.
        CatalogError: the network is for one error, and a star has another or gaps.
        OutputError: the checkpoint can't be written.
    """
    if method not in METHODS:
        raise ValueError(f"Expected method {' or '.join(METHODS)}; got {method!r}.")
    stars = check_stars(stars)
    inputs = np.asarray(npe.reader.inputs(stars), np.float32)
    weak = find_uninformative(npe, inputs, quiet)
    # the same in each process, to the bit
    is_used = of_all_processes(weak.astype(float))[0] == 0.0
    inputs = inputs[is_used]
    blocks = Blocks(npe, inputs, block, stars.take(is_used))
    path = None if checkpoint is None else Path(checkpoint)
    settings = ""
    if path is not None:
        about = (method, blocks.size, N_STAR_DRAWS, GUESS_STARS, GUESS_WIDTH)
        about += (FARTHEST, package_version())
        seed = jax.random.key_data(key)  # key reuse: names the run, no draw
        settings = fingerprint(about, (inputs, blocks.share), (npe, forward), seed)
    save = partial(save_state, path, settings)
    load = partial(load_state, path, settings, quiet=quiet)
    galaxy = METHODS[method](key, blocks, forward, load, save, n_draws, quiet)
    n_weak = len(stars.values) - len(inputs)
    return galaxy._replace(checks=galaxy.checks | {"weak_stars": n_weak})


def _stream_gaussian(
    key: Key[Array, ""],
    blocks: Blocks,
    forward: Forward | None,
    load: Load,
    save: Save,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    key_stars, key_draws = jax.random.split(key)

    def gains(i: int) -> np.ndarray:
        sums = on_all_devices(_gain_sums)(blocks(i), blocks.npe, key_stars)
        return np.asarray(sums, float).sum(axis=0)

    state = load(lambda: State(0, 0, np.zeros(2), np.zeros((2, 2)), np.zeros(N_GAINS)))
    with _bar(blocks, "gaussian", quiet) as bar:
        total = sum_blocks(gains, blocks.n_blocks, state, save, bar).total
    precision = np.eye(N_GLOBAL) + total[: N_GLOBAL**2].reshape(N_GLOBAL, N_GLOBAL)
    covariance = np.linalg.inv(precision)
    mean = covariance @ total[N_GLOBAL**2 : -1]
    noise = np.asarray(jax.random.normal(key_draws, (n_draws, N_GLOBAL)), float)
    latent = jnp.asarray(mean + noise @ np.linalg.cholesky(covariance).T)
    product = StreamedGaussian(mean, covariance)
    checks: GalaxyChecks = {"guarded_stars": int(total[-1])}
    return to_posterior("gaussian", blocks.npe, latent, product, checks)


def _gain_sums(
    chunks: tuple[Array, Array, Array], npe: Npe, key: Key[Array, ""]
) -> Float[Array, "chunk sums"]:
    """Summed precision, push and guarded stars of each chunk."""
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)

    def of_chunk(chunk: tuple[Array, Array, Array]) -> Array:
        rows, inputs, is_star = chunk
        keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows)
        gain = star_gains(*star_moments((keys, inputs), npe), zero, one)
        flat = [gain.precision.reshape(-1, N_GLOBAL**2), gain.push]
        each = jnp.column_stack([*flat, gain.is_guarded])
        return jnp.sum(jnp.where(is_star[:, None], each, 0.0), axis=0)

    return lax.map(of_chunk, chunks)


def _stream_flow(
    key: Key[Array, ""],
    blocks: Blocks,
    forward: Forward | None,
    load: Load,
    save: Save,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    key_guess, key_draws = jax.random.split(key)
    origin, factor, score = first_grid(key_guess, blocks, forward)
    state = load(lambda: State(0, 0, origin, factor, np.zeros(N_GRID**2)))
    while True:
        first, second = _columns(state)
        sums = partial(_block_densities, blocks, first, second)
        with _bar(blocks, f"flow, pass {state.stage + 1}", quiet) as bar:
            state = sum_blocks(sums, blocks.n_blocks, state, save, bar)
        grid, fits = _read_grid(state, first, second, blocks.n_stars, score)
        if fits or state.stage + 1 == MAX_PASSES:
            break
        factor = _next_factor(grid, state.factor)
        origin = np.asarray(grid.mean)
        state = State(state.stage + 1, 0, origin, factor, np.zeros(N_GRID**2))
    latent = draw_from_grid(key_draws, jax.tree.map(jnp.asarray, grid), n_draws)
    checks = grid_checks(grid, n_draws) | {"passes": state.stage + 1}
    checks |= mean_error(grid, score, blocks.n_stars)
    return to_posterior("flow", blocks.npe, latent, grid, checks)


def _columns(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Both latents on the grid, as `zoom_in` has them; rounded as the network's."""
    origin, factor = state.origin, state.factor
    first = origin[0] + factor[0, 0] * UNITS
    second = origin[1] + factor[1, 0] * UNITS[:, None] + factor[1, 1] * UNITS
    return first.astype(np.float32), second.astype(np.float32)


def _block_densities(
    blocks: Blocks, first: np.ndarray, second: np.ndarray, i: int
) -> np.ndarray:
    chunks = blocks(i)[1:]
    columns = jnp.asarray(first), jnp.asarray(second)
    sums = on_all_devices(_density_sums)(chunks, blocks.npe, *columns)
    return np.asarray(sums, float).sum(axis=0)


def _density_sums(
    chunks: tuple[Float[Array, "chunk star input"], Bool[Array, "chunk star"]],
    npe: Npe,
    first: Float[Array, " column"],
    second: Float[Array, "column row"],
) -> Float[Array, "chunk point"]:
    """Summed log densities of each chunk, less those at the centre of the grid."""

    def of_star(seen: Array) -> Array:
        density = npe.galaxy_flow.given(seen).log_prob_columns(first, second)
        return density - density[CENTRE, CENTRE]

    def of_chunk(chunk: tuple[Array, Array]) -> Array:
        inputs, is_star = chunk
        each = jax.vmap(of_star)(features(npe, inputs).T)
        return jnp.sum(jnp.where(is_star[:, None, None], each, 0.0), axis=0).ravel()

    return lax.map(of_chunk, chunks)


def _read_grid(
    state: State,
    first: np.ndarray,
    second: np.ndarray,
    n_stars: int,
    score: np.ndarray | None,
) -> tuple[GridPosterior, bool]:
    """The posterior on the grid, and whether the grid fits it."""
    first, second = first.astype(float), second.astype(float)
    prior = -0.5 * (first[:, None] ** 2 + second**2)
    log_weights = state.total.reshape(N_GRID, N_GRID) - (n_stars - 1) * (
        prior - prior[CENTRE, CENTRE]
    )
    if score is not None:
        at = score[0] * (first[:, None] - state.origin[0]) + score[1] * second
        log_weights = log_weights - n_stars * at
    log_weights = log_weights + outside(first[:, None], second)
    log_weights = log_weights - log_weights.max()
    log_weights = log_weights - np.log(np.exp(log_weights).sum())
    weights = np.exp(log_weights)
    units = np.stack(np.meshgrid(UNITS, UNITS, indexing="ij"), axis=-1)
    mean = np.einsum("ab,abi->i", weights, units)
    covariance = np.einsum("ab,abi,abj->ij", weights, units - mean, units - mean)
    covariance = covariance + MIN_CELL_VARIANCE * np.eye(N_GLOBAL)
    grid = GridPosterior(
        mean=state.origin + state.factor @ mean,
        covariance=state.factor @ covariance @ state.factor.T,
        origin=state.origin,
        factor=state.factor,
        log_weights=log_weights,
    )
    widths = np.sqrt(np.linalg.eigvalsh(covariance))
    good_width = TOO_WIDE < widths[0] and widths[1] < TOO_NARROW
    return grid, bool(good_width and np.abs(mean).max() < OFF_CENTRE)


def _next_factor(grid: GridPosterior, factor: np.ndarray) -> np.ndarray:
    """As `zoom_in`: at least a cell, as the best point may lie beside the peak."""
    return np.linalg.cholesky(grid.covariance + STEP**2 * factor @ factor.T)


def _bar(blocks: Blocks, name: str, quiet: bool) -> tqdm:
    return tqdm(total=blocks.n_blocks, desc=name, unit="block", disable=quiet)


METHODS = {"flow": _stream_flow, "gaussian": _stream_gaussian}
