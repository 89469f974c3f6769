"""One galaxy from several catalogues of its stars."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import N_GLOBAL, SLOPE_ERROR, YIELD_SLOPES
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.combine import (
    Information,
    information_of,
    posterior_of,
    tension_of,
    with_own_errors,
)
from chemsbi_jax.galaxy.hierarchical.result import NOT_NARROWED
from chemsbi_jax.inference.catalogues import Source, read_catalogue
from chemsbi_jax.inference.combined import Agreement, CombinedCatalogues
from chemsbi_jax.inference.comparable import (
    Whitening,
    prior_of,
    require_comparable,
    require_plausible,
)
from chemsbi_jax.types import GalaxyPosterior

N_DRAWS = 4000
FEWEST_DRAWS, MOST_DRAWS = 2, 10**7


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
        catalogues: name -> result of `infer`, or the folder of its files. No star may
            be in two of them. Results of `infer_galaxy` have no abundances, so that
            common stars are not looked for.
        slope_error: standard deviation of the errors of the slopes [dex per dex of
            [Fe/H]], independent for each catalogue; 0: none.
        n_draws: of the common posterior.
        seed: of these draws.

    Raises:
        InputError: a catalogue has no second interval or too few effective draws, two
            have the same stars, or their priors differ.
    """
    _require_settings(catalogues, slope_error, n_draws, seed)
    found = tuple(read_catalogue(str(k), x) for k, x in catalogues.items())
    require_comparable(found)
    names, prior = found[0].parameters, prior_of(found[0].scales)
    for catalogue in found:
        require_plausible(catalogue, prior)
    errors = [slope_error * (name in YIELD_SLOPES) for name in names]
    variance = (np.array(errors) / np.diag(prior.root)) ** 2
    own = [information_of(prior.apply(c.draws), c.n_effective) for c in found]
    common = [with_own_errors(part, variance) for part in own]
    agreement = tuple(
        _agreement(part, common[:i] + common[i + 1 :], variance, names, prior)
        for i, part in enumerate(own)
    )
    both = posterior_of(common)
    covariance = prior.root @ both.covariance @ prior.root.T
    # by Cholesky, as the signs of other factors change with the last digit
    draw = np.random.default_rng(seed).multivariate_normal
    noise = draw(*both, size=n_draws, method="cholesky")
    mean, draws, first = prior.undo(both.mean), prior.undo(noise), slice(N_GLOBAL)
    posterior = GalaxyPosterior(
        "combined", draws[:, first], mean[first], covariance[first, first], {}
    )
    about = found, agreement, slope_error, seed
    return CombinedCatalogues(posterior, names, draws, *about)


def _require_settings(
    catalogues: object, slope_error: object, n_draws: object, seed: object
) -> None:
    if not isinstance(catalogues, Mapping):
        raise InputError(
            "Expected catalogues as a dictionary, name -> result or folder; got "
            f"{type(catalogues).__name__}."
        )
    is_number = isinstance(slope_error, int | float | np.number)
    if not (is_number and 0.0 <= slope_error < np.inf):
        raise InputError(
            "Expected a slope_error of 0 or more [dex per dex]; got "
            f"{slope_error!r}. 0 takes the slopes as common to all catalogues."
        )
    for name, value, low, high in (
        ("n_draws", n_draws, FEWEST_DRAWS, MOST_DRAWS),
        ("seed", seed, 0, 2**32 - 1),
    ):
        if not (isinstance(value, int | np.integer) and low <= value <= high):
            raise InputError(
                f"Expected {name} as a whole number from {low} to {high}; got "
                f"{value!r}."
            )


def _agreement(
    part: Information,
    others: Sequence[Information],
    variance: Float[np.ndarray, " common"],
    names: Sequence[str],
    prior: Whitening,
) -> Agreement:
    """Chi2 and pulls, these of parameters that the catalogue narrows."""

    def width(covariance: np.ndarray) -> np.ndarray:
        return np.sqrt(np.diag(prior.root @ covariance @ prior.root.T))

    one, own = tension_of(part, others, variance), posterior_of([part]).covariance
    away, scatter = prior.root @ one.away, width(one.scatter)
    is_narrowed = width(own) < NOT_NARROWED * width(np.eye(len(names)))
    narrowed = np.flatnonzero(is_narrowed & (scatter > 0.0)).tolist()
    pulls = {names[i]: float(away[i] / scatter[i]) for i in narrowed}
    return Agreement(one.chi2, one.n_directions, one.p, pulls)
