"""The galaxies of `reproduce.py`: what is on the machine, and what is missing.

Nothing here downloads: `experiments/download.py` does, when the user asks for it.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import Table
from jaxtyping import Array, Float, Key

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.errors import InputError, WeightsError
from chemsbi_jax.npe.noise import SIGMA, add_noise
from chemsbi_jax.storage.datasets import FILES, cache_folder, find_local, sha256
from chemsbi_jax.storage.weights import PRETRAINED, weights_folder
from chemsbi_jax.types import AnyArray

TRUTH = (-2.3, -2.89)
EXAMPLE = Path(cs.__file__).parent / "pretrained" / "stars" / "example_galaxy.ecsv"
OPTIONAL = ("yields/alternative/derived_tables.npz",)  # for tests only
SPARE = 1.2  # simulations a wanted star: some have no star (NaN)
BLOCK = 2048  # simulations in one compiled call
ROUND = 5  # digits of dex that a table keeps


class Galaxy(NamedTuple):
    """One data set, or the reason why it is not there."""

    title: str
    note: str  # where the stars come from
    truth: tuple[float, float] | None
    is_legacy: bool = False  # made by Chempy itself: needs the legacy weights
    stars: cs.Stars | None = None
    missing: str = ""  # what is not on the machine


def load_galaxies(key: Key[Array, ""], n: int, seed: int) -> dict:
    """All data sets by name, each in a random order of its stars.

    Args:
        key: determines the stars that we simulate and the noise that we add.
        n: stars of the galaxies that we simulate.
        seed: determines the order of the stars; the first N of it are "N stars".
    """
    key_tng, key_noise, key_alternative = jax.random.split(key, 3)
    galaxies = {
        "tng": _tng(key_tng, n),
        "chempy-tng-200": _table(
            "TNG yields, the reference's 200 stars",
            "stars/chempy_tng_200.ecsv",
            "Made by the reference's emulator of the real Chempy, noise included; "
            "fitted with the legacy weights, which have Chempy's numerical errors.",
            is_legacy=True,
        ),
        "chempy-alternative": _noise_free_table(key_noise),
        "alternative": _alternative(key_alternative, n),
        "illustris-tng": _table(
            "IllustrisTNG galaxy",
            "stars/illustris_tng.ecsv",
            "Star particles of TNG100-1 subhalo 523071, noise already in (rounded to "
            "0.01 dex): another galaxy model than the networks'. The truth is that of "
            "the simulation's own IMF and SN Ia rate.",
        ),
    }
    return {k: _shuffled(galaxy, seed) for k, galaxy in galaxies.items()}


def on_machine(name: str) -> Path | None:
    """A published file in the mirror or the cache; None where it is not."""
    if name not in FILES or find_local(name) is not None:
        return find_local(name)
    cached = cache_folder() / name
    is_there = cached.is_file() and sha256(cached) == FILES[name].sha256
    return cached if is_there else None


def published_file(name: str) -> Path:
    """`on_machine` of a file that a script can't do without.

    Raises:
        InputError: the file is not on the machine; names the remedy.
    """
    path = on_machine(name)
    if path is None:
        raise InputError(
            f"Expected {name} on the machine; set CHEMSBI_DATA, or get it with "
            "experiments/download.py."
        )
    return path


def missing_yields(name: str) -> list[str]:
    """Files of a yield set that are not on the machine."""
    files = [f for f in FILES if f.startswith(f"yields/{name}/") and f not in OPTIONAL]
    return [file for file in files if on_machine(file) is None]


def simulate_galaxies(
    key: Key[Array, ""], truths: Float[np.ndarray, "galaxy 2"], n: int, forward
) -> list[cs.Stars]:
    """Galaxies of `n` stars with noise; local parameters from the paper prior.

    Args:
        key: determines the local parameters and the noise.
        truths: alpha_imf and log10_n_ia of each galaxy.
        n: stars a galaxy.
        forward: theta (..., 6) -> abundances [dex]; all galaxies in one call.
    """
    key_theta, key_noise = jax.random.split(key)
    n_try = int(SPARE * n) + 20
    theta = priors.sample(key_theta, cs.paper_prior(), len(truths) * n_try)
    theta = theta.at[:, :2].set(np.repeat(np.asarray(truths), n_try, axis=0))
    noisy = np.asarray(add_noise(key_noise, jnp.asarray(forward(theta)), SIGMA))
    galaxies = []
    for values in noisy.reshape(len(truths), n_try, -1):
        born = values[np.isfinite(values).all(axis=1)][:n]
        if len(born) < n:
            raise InputError(
                f"Expected {n} stars of {n_try} simulations; got {len(born)}."
            )
        galaxies.append(as_stars(born))
    return galaxies


def simulator(yields: str):
    """A function of theta (n, 6) that gives abundances [dex], with few compilations."""
    tables = cs.load_yields(yields)

    def forward(theta: Float[Array, "n param"]) -> Float[np.ndarray, "n element"]:
        blocks = jnp.pad(theta, ((0, -len(theta) % BLOCK), (0, 0)), mode="edge")
        blocks = blocks.reshape(-1, BLOCK, theta.shape[-1])
        return np.concatenate([cs.simulate(b, tables) for b in blocks])[: len(theta)]

    return forward


def as_stars(values: Float[AnyArray, "star 8"]) -> cs.Stars:
    """Stars with all abundances and the errors of the networks."""
    values = np.round(np.asarray(values, float), ROUND)
    unknown = np.full(len(values), np.nan)
    return cs.Stars(
        values=values,
        errors=np.full(values.shape, SIGMA),
        observed=np.ones(values.shape, bool),
        birth_time=unknown,
        e_birth_time=unknown,
        ids=np.arange(len(values)).astype(str),
    )


def try_weights(name: str) -> str:
    """Why weights can't be used; nothing if they can."""
    if name in PRETRAINED and not (weights_folder(name) / "npe.json").is_file():
        return f"weights {name}"
    try:
        cs.load_emulator(name)
        cs.load_npe(name)
    except WeightsError as error:
        return f"weights {name}: {error}"
    return ""


def _tng(key: Key[Array, ""], n: int) -> Galaxy:
    title = "TNG yields, our simulator"
    if not missing_yields("tng"):
        [stars] = simulate_galaxies(key, np.array([TRUTH]), n, simulator("tng"))
        note = f"{n} stars of our simulator (clean physics), 0.05 dex noise: matched."
        return Galaxy(title, note, TRUTH, stars=stars)
    if not EXAMPLE.is_file():
        absent = f"yields/tng ({missing_yields('tng')[0]}), and {EXAMPLE.name}"
        return Galaxy(title, "", TRUTH, missing=absent)
    stars = cs.read_stars(EXAMPLE)
    note = (
        f"{len(stars.values)} stars of our simulator from the shipped table "
        "example_galaxy.ecsv (the yield tables are not on this machine): matched."
    )
    return Galaxy(title, note, _truth_of(EXAMPLE), stars=stars)


def _truth_of(path: Path) -> tuple[float, float] | None:
    truth = Table.read(path, format="ascii.ecsv").meta.get("truth")
    if isinstance(truth, dict):
        truth = [truth[name] for name in cs.PARAMETERS[:2]]
    return None if truth is None else (float(truth[0]), float(truth[1]))


def _table(title: str, file: str, note: str, is_legacy: bool = False) -> Galaxy:
    path = on_machine(file)
    if path is None:
        return Galaxy(title, note, TRUTH, is_legacy, missing=file)
    return Galaxy(title, note, TRUTH, is_legacy, stars=cs.read_stars(path))


def _noise_free_table(key: Key[Array, ""]) -> Galaxy:
    title = "alternative yields, the reference's 999 stars"
    file = "stars/chempy_alternative.ecsv"
    note = (
        "Made by Chempy with the alternative yields, without noise; 0.05 dex added "
        "once. Fitted with networks of the TNG yields: misspecified by design."
    )
    path = on_machine(file)
    if path is None:
        return Galaxy(title, note, TRUTH, missing=file)
    table = Table.read(path, format="ascii.ecsv")
    clean = jnp.stack([jnp.asarray(table[f"true_{a}"]) for a in cs.ABUNDANCES], -1)
    return Galaxy(title, note, TRUTH, stars=as_stars(add_noise(key, clean, SIGMA)))


def _alternative(key: Key[Array, ""], n: int) -> Galaxy:
    title = "alternative yields, our simulator"
    note = (
        f"{n} stars of our simulator (clean physics, ejected fractions of the AGB "
        "yields corrected), 0.05 dex noise; fitted with networks of the TNG yields: "
        "misspecified by design, but everything about the stars is known."
    )
    absent = missing_yields("alternative")
    if absent:
        return Galaxy(title, note, TRUTH, missing=f"yields/alternative ({absent[0]})")
    forward = simulator("alternative")
    [stars] = simulate_galaxies(key, np.array([TRUTH]), n, forward)
    return Galaxy(title, note, TRUTH, stars=stars)


def _shuffled(galaxy: Galaxy, seed: int) -> Galaxy:
    """Random order, so that the first N stars are a fair sample of the table."""
    if galaxy.stars is None:
        return galaxy
    order = np.random.default_rng(seed).permutation(len(galaxy.stars.values))
    stars = galaxy.stars.take(order)
    return galaxy._replace(stars=stars)
