"""Posterior draws of each star by itself."""

from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.galaxy.amortised.padding import keys_of_stars, on_all_devices, pad
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.npe.model import Npe, sample_latents
from chemsbi_jax.stars import check_stars
from chemsbi_jax.types import Stars


@in_float32
def sample_stars(
    key: Key[Array, ""], npe: Npe, stars: Stars, n_draws: int = 1000
) -> Float[Array, "star draw param"]:
    """Draws from the posterior of each star, in one jitted call.

    Args:
        key: the draws of a star depend on it and on the star's row alone.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`; what `npe` can read (any, or all eight with one error).
        n_draws: draws a star.

    Returns:
        (n_stars, n_draws, 6) theta in the order of `PARAMETERS`.

    Raises:
        CatalogError: a star can't be used (`check_stars`), or the network is for one
            error, and a star has another or gaps.
    """
    stars = check_stars(stars)
    inputs, _ = pad(npe, npe.reader.inputs(stars))
    keys = keys_of_stars(key, len(inputs))
    draws = on_all_devices(_sample)((keys, inputs), npe, n_draws)
    return draws[: len(stars.values)]


def _sample(stars: tuple[Key[Array, " star"], Array], npe: Npe, n_draws: int) -> Array:
    keys, inputs = stars
    draws = sample_latents(keys, npe, inputs, n_draws)
    return priors.from_normal(npe.prior, draws)
