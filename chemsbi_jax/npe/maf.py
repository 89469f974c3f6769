"""flowjax's masked autoregressive flow, with the methods of our own flow (`flow`)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import AbstractBijection
from flowjax.distributions import StandardNormal
from flowjax.flows import masked_autoregressive_flow
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax.npe.flow import as_column


class MafGivenStar(eqx.Module):
    """flowjax's flow for one star, or a batch of stars along the last axis."""

    bijection: AbstractBijection
    features: Float[Array, "feature *batch"]

    def draw(self, noise: Array, before: Array) -> Array:
        """Parameters from standard-normal noise."""
        return self._over_batch(self.bijection.transform, noise, before)

    def draw_and_log_det(self, noise: Array, before: Array) -> tuple[Array, Array]:
        """`draw`, and the log volume that the noise is stretched by."""
        values = self.draw(noise, before)
        return values, norm.logpdf(noise).sum(axis=0) - self.log_prob(values, before)

    def log_prob(self, values: Array, before: Array) -> Array:
        """Log density."""

        def one(value: Array, condition: Array) -> Array:
            noise, log_det = self.bijection.inverse_and_log_det(value, condition)
            return norm.logpdf(noise).sum() + log_det

        return self._over_batch(one, values, before)

    def log_prob_columns(
        self, first: Float[Array, " column"], second: Float[Array, "column row"]
    ) -> Float[Array, "column row"]:
        """Log density of two parameters, point by point."""
        values = jnp.stack([jnp.broadcast_to(first[:, None], second.shape), second])
        flat = values.reshape(2, -1)
        return self.log_prob(flat, flat[:0]).reshape(second.shape)

    def _over_batch(
        self, function: Callable[[Array, Array], Array], x: Array, before: Array
    ) -> Array:
        features = self.features
        if x.ndim > features.ndim:
            features = jnp.broadcast_to(
                as_column(features, x), (features.shape[0], *x.shape[1:])
            )
        condition = jnp.concatenate([features, before])
        if x.ndim == 1:
            return function(x, condition)
        return jax.vmap(function, in_axes=-1, out_axes=-1)(x, condition)


class Maf(eqx.Module):
    """Masked autoregressive flow (Papamakarios+ 2017), as the reference uses it."""

    bijection: AbstractBijection
    stars_at_once: ClassVar[int | None] = 4  # small layers: one star leaves cores idle

    def given(self, features: Float[Array, "feature *batch"]) -> MafGivenStar:
        """The flow of one star."""
        return MafGivenStar(self.bijection, features)


@dataclass(frozen=True)
class MafFlow:
    """Size of a masked autoregressive flow; the defaults are the reference's."""

    hidden: int = 8
    """Width of each transform's network."""
    n_transforms: int = 4
    """Affine autoregressive transforms."""

    def build(
        self, key: Key[Array, ""], n_dim: int, n_features: int, n_direct: int
    ) -> Maf:
        """A new flow; call it outside `jit`."""
        flow = masked_autoregressive_flow(
            key,
            base_dist=StandardNormal((n_dim,)),
            cond_dim=n_features + n_direct,
            flow_layers=self.n_transforms,
            nn_width=self.hidden,
            nn_depth=2,
        )
        return Maf(flow.bijection)
