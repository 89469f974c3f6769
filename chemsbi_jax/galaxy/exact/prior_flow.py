"""The prior in place of a network's proposals of the local parameters.

A network that was trained with other yields proposes local parameters far from those of
a star; the maps that `exact` fits to each star then start better from the prior.
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from chemsbi_jax.npe.model import Npe


class PriorFlow(eqx.Module):
    """Local latents are standard normals, whatever the star: see `ConditionalFlow`."""

    stars_at_once: ClassVar[int | None] = None

    def given(self, features: Float[Array, "feature *batch"]) -> "PriorFlow":
        """The same for all stars."""
        return self

    def draw(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "param *batch"]:
        """The noise."""
        return noise

    def draw_and_log_det(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> tuple[Float[Array, "param *batch"], Float[Array, "*batch"]]:
        """The noise, with volume 1."""
        return noise, jnp.zeros(noise.shape[1:], noise.dtype)

    def log_prob(
        self, values: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "*batch"]:
        """Log density of standard normals."""
        return norm.logpdf(values).sum(axis=0)

    def log_prob_columns(
        self, first: Float[Array, " column"], second: Float[Array, "column row"]
    ) -> Float[Array, "column row"]:
        """Log density of two standard normals on a grid."""
        return norm.logpdf(first)[:, None] + norm.logpdf(second)


def without_proposals(npe: Npe) -> Npe:
    """The network with the prior as the proposal of the local parameters."""
    return eqx.tree_at(lambda n: n.star_flow, npe, PriorFlow())
