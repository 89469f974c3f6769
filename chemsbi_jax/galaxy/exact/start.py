"""First guess of the exact method: the answer of the flow, or one that is given."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.flow import grid_posterior, is_far
from chemsbi_jax.galaxy.amortised.gaussian import gaussian_product
from chemsbi_jax.galaxy.amortised.uninformative import pad_informative
from chemsbi_jax.galaxy.exact.posterior import Exact, exact_posterior
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.npe.model import Npe, features
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars


def exact_of_stars(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    stars: Stars,
    start: GalaxyPosterior | None = None,
    *,
    quiet: bool = True,
) -> Exact:
    """`exact_posterior` of a star table, from the flow's answer or another first guess.

    Gaps, any errors and birth times count in the likelihood; the flow only guides, and
    one for a single error sees its training's mean in the gaps.
    """
    inputs = npe.reader.rough_inputs(stars).astype(np.float32)
    if start is None:
        padded, is_star = pad_informative(npe, inputs)
        gaussian = gaussian_product(key, npe, padded, is_star)
        guess = grid_posterior(npe, padded, is_star, gaussian)
        if is_far(np.hypot(*guess.mean)):
            guess = gaussian
        mean, covariance = guess.mean, guess.covariance
    else:
        scale = np.array([float(d.variance) ** 0.5 for d in npe.prior[:N_GLOBAL]])
        centre = np.array([float(d.mean) for d in npe.prior[:N_GLOBAL]])
        mean = (np.asarray(start.mean) - centre) / scale
        covariance = np.asarray(start.covariance) / np.outer(scale, scale)
    observed = jax.tree.map(lambda x: x.astype(jnp.float32), observe(stars))
    seen = features(npe, jnp.asarray(inputs)).T
    return exact_posterior(
        key, npe, forward, observed, seen, mean, covariance, quiet=quiet
    )
