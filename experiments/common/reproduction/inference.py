"""The inference of `reproduce.py`: four formulas, NUTS summaries, and recovery."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.amortised.gaussian import combine_gaussians
from chemsbi_jax.storage.files import sha256
from common.reproduction.formulas import marginal_product, wrong_sign
from common.reproduction.galaxies import on_machine, simulate_galaxies

METHODS = ("flow", "gaussian", "wrong sign", "marginal product")
N_STAR_DRAWS = 1000  # of each star, for the reference's formulas
NAMED_TRUTHS = ((-2.3, -2.89), (-2.1, -2.6), (-2.6, -3.3), (-2.1, -3.0))
"""Those of the reference's tests, and two along the alpha-N_Ia degeneracy."""
PUBLISHED_DRAWS = "reference/published_single_star_samples.npz"
PUBLISHED_N = (1, 10, 100, 200)
RIGHT = 3.0  # a Mahalanobis distance below it counts as recovered


class Case(NamedTuple):
    """One galaxy of the recovery test, with one number of stars and one formula."""

    truth: tuple[float, float]
    named: bool  # one of NAMED_TRUTHS, else from the prior
    n_stars: int
    method: str
    mahalanobis: float
    chi2: float


def prior_moments(prior: priors.Prior) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the prior of the two global parameters."""
    both = tuple(prior)[:N_GLOBAL]
    return [float(d.mean) for d in both], [float(d.variance) ** 0.5 for d in both]


def combine_all(
    key: Key[Array, ""], networks: tuple, stars: cs.Stars, numbers: Sequence[int]
) -> dict[int, dict[str, cs.GalaxyPosterior]]:
    """Number of stars -> formula -> posterior, for the first N stars of a table.

    `networks` are the posterior's and the emulator, as `load_networks` gives them.
    """
    npe, emulator = networks
    key_stars, key_galaxy = jax.random.split(key)
    draws = cs.sample_stars(key_stars, npe, stars, N_STAR_DRAWS)
    draws = np.asarray(draws)[..., :N_GLOBAL]
    results = {}
    for n in numbers:
        some = first(stars, n)
        results[n] = (
            {
                m: cs.infer_galaxy(
                    key_galaxy,  # key reuse: common random numbers
                    npe,
                    some,
                    m,
                    forward=emulator,
                )
                for m in ("flow", "gaussian")
            }
            | {
                "wrong sign": wrong_sign(draws[:n], *prior_moments(npe.prior)),
                "marginal product": marginal_product(draws[:n]),
            }
        )
    return results


def first(stars: cs.Stars, n: int) -> cs.Stars:
    """The first `n` stars of a table."""
    return stars.take(slice(None, n))


def fitting_numbers(numbers: Sequence[int], n_stars: int) -> list[int]:
    """Those numbers of stars that the table has; its length instead of larger ones."""
    return sorted({min(n, n_stars) for n in numbers})


def each_sample(
    galaxies: Mapping, names: Sequence[str], numbers: Sequence[int]
) -> Iterator[tuple[str, cs.Stars]]:
    """Name and first stars of each data set, for each number of stars that it has.

    Raises:
        InputError: a data set that is unknown, or not on the machine.
    """
    for name in names:
        if name not in galaxies or galaxies[name].stars is None:
            raise InputError(
                f"Expected data sets among {tuple(galaxies)} that are on the machine "
                f"(experiments/download.py); got {name!r}."
            )
        stars = galaxies[name].stars
        for n in fitting_numbers(numbers, len(stars.values)):
            yield name, first(stars, n)


def chi2(posterior: cs.GalaxyPosterior, truth: Sequence[float]) -> float:
    """Squared Mahalanobis distance of the truth; 2 on average if all is right."""
    offset = np.asarray(posterior.mean, float) - np.asarray(truth)
    return float(offset @ np.linalg.solve(np.asarray(posterior.covariance), offset))


def as_numbers(
    posterior: cs.GalaxyPosterior, truth: Sequence[float] | None = None
) -> dict:
    """Plain numbers of a posterior."""
    sd = np.sqrt(np.diag(posterior.covariance))
    numbers = {
        "mean": np.asarray(posterior.mean).tolist(),
        "sd": sd.tolist(),
        "correlation": float(posterior.covariance[0, 1] / sd.prod()),
        "checks": posterior.checks,
    }
    if truth is not None:
        numbers["mahalanobis"] = chi2(posterior, truth) ** 0.5
    return numbers


def combine_published() -> dict | str:
    """The reference's own single-star draws with every formula; its name if missing."""
    path = on_machine(PUBLISHED_DRAWS)
    if path is None:
        return PUBLISHED_DRAWS
    with np.load(path) as file:
        draws = np.stack([file[name] for name in cs.PARAMETERS[:2]], -1).astype(float)
    return {n: _three_formulas(draws[:n]) for n in PUBLISHED_N}


def _three_formulas(draws: Float[np.ndarray, "star draw 2"]) -> dict[str, dict]:
    mean, sd = (np.array(x) for x in prior_moments(cs.paper_prior()))
    covariances = np.array([np.cov(star, rowvar=False) for star in draws])
    right = combine_gaussians(draws.mean(axis=1), covariances, mean, np.diag(sd**2))
    moments = np.asarray(right.mean, float), np.asarray(right.covariance, float)
    return {
        "wrong sign": as_numbers(wrong_sign(draws, mean, sd)),
        "marginal product": as_numbers(marginal_product(draws)),
        "right": as_numbers(cs.GalaxyPosterior("gaussian", draws[0], *moments, {})),
    }


def find_nuts(folder: Path, table: Path) -> dict[int, dict]:
    """Number of stars -> summary of a converged NUTS run on exactly this star table.

    Args:
        folder: searched for summary.json of `experiments/nuts.py`.
        table: star table; the summary must carry its sha256.
    """
    wanted, found = f"sha256 {sha256(table)}", {}
    for path in sorted(folder.glob("**/summary.json")):
        summary = json.loads(path.read_text())
        is_nuts = summary.get("method") == "nuts"
        if is_nuts and summary.get("provenance", {}).get("stars") == wanted:
            found[int(summary["n_used"])] = summary
    return found


def recover(
    key: Key[Array, ""],
    networks: tuple,
    forward,
    numbers: Sequence[int],
    n_random: int,
    quiet: bool,
) -> list[Case]:
    """Galaxies with known parameters, inferred with every formula.

    Args:
        key: determines truths, stars and draws.
        networks: the posterior's, under test, and the emulator.
        forward: makes the stars.
        numbers: numbers of stars.
        n_random: truths from the prior, besides the named ones.
        quiet: no progress bar.
    """
    key_truth, key_stars, key_infer = jax.random.split(key, 3)
    random = np.asarray(priors.sample(key_truth, networks[0].prior, n_random))[
        :, :N_GLOBAL
    ]
    truths = np.concatenate([NAMED_TRUTHS, random])
    galaxies = simulate_galaxies(key_stars, truths, max(numbers), forward)
    keys = jax.random.split(key_infer, len(truths))
    cases = []
    for i, stars in enumerate(tqdm(galaxies, desc="recovery", disable=quiet)):
        alpha, n_ia = truths[i].tolist()
        truth = (alpha, n_ia)
        for n, results in combine_all(keys[i], networks, stars, numbers).items():
            for method, posterior in results.items():
                value = chi2(posterior, truth)
                is_named = i < len(NAMED_TRUTHS)
                cases.append(Case(truth, is_named, n, method, value**0.5, value))
    return cases


def summarise_recovery(cases: Sequence[Case]) -> list[dict]:
    """Share of truths recovered and mean chi-square, by number of stars and formula."""
    rows = []
    for n in sorted({case.n_stars for case in cases}):
        for method in METHODS:
            values = [c.chi2 for c in cases if (c.n_stars, c.method) == (n, method)]
            rows.append(_summarise(np.array(values)) | {"n": n, "method": method})
    return rows


def _summarise(values: Float[np.ndarray, " case"]) -> dict:
    return {
        "cases": len(values),
        "share_below_3": float((values < RIGHT**2).mean()),
        "mean_chi2": float(values.mean()),
        "expected_chi2": 2.0,
        "expected_error": float(2.0 / len(values) ** 0.5),  # variance of chi2(2) is 4
    }
