"""Conditional flow of splines, each parameter given the star and those before it.

For a star it gives an object with `draw`, `draw_and_log_det`, `log_prob` and
`log_prob_columns`, as `maf` does. Parameters lie along the first axis and draws along
the last.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Float, Int, Key

from chemsbi_jax.npe.spline import (
    Spline,
    make_spline,
    n_raw,
    spline_forward,
    spline_inverse,
)

LOG_SCALE_LIMIT = 8.0  # keeps the width of a conditional within exp(+-8)


class Dense(NamedTuple):
    """One layer; a first axis of the arrays stacks layers of several parameters."""

    weight: Float[Array, "*stack out in"]
    bias: Float[Array, "*stack out"]

    def __call__(self, x: Float[Array, "in *batch"]) -> Float[Array, "out *batch"]:
        """Affine map of the first axis."""
        return jnp.tensordot(self.weight, x, axes=1) + as_column(self.bias, x)


class Embedding(eqx.Module):
    """Reads the features of a star."""

    layers: tuple[Dense, ...]

    def __call__(
        self, x: Float[Array, "feature *batch"]
    ) -> Float[Array, "embedding *batch"]:
        """Features to embedding."""
        for layer in self.layers:
            x = jax.nn.silu(layer(x))
        return x


class Conditional(eqx.Module):
    """Network of one parameter: a spline from the star and the parameters before."""

    from_star: Float[Array, "*stack hidden embedding"]
    from_before: Float[Array, "*stack hidden before"]
    layers: tuple[Dense, ...]

    def __call__(
        self, star: Float[Array, "hidden *star"], before: Float[Array, "known *batch"]
    ) -> tuple[Array, Array, Spline]:
        """Location, log scale and spline; `star` is `from_star @ embedding`.

        It is that of one star, (hidden,), or of each star of the batch.

        `before` may be shorter than `from_before`: the rest counts as zero.
        """
        weight = self.from_before[:, : before.shape[0]]
        raw = jnp.tensordot(weight, before, axes=1)
        raw = raw + (star if star.ndim == raw.ndim else as_column(star, raw))
        for layer in self.layers:
            raw = layer(jax.nn.relu(raw))
        log_scale = LOG_SCALE_LIMIT * jnp.tanh(raw[1] / LOG_SCALE_LIMIT)
        return raw[0], log_scale, make_spline(raw[2:])


class SplineGivenStar(eqx.Module):
    """The flow of one star: what depends on the star alone is done."""

    conditionals: Conditional  # stacked along a first axis, one a parameter
    star: Float[Array, "param hidden *batch"]  # the star's part of each first layer

    def draw(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "param *batch"]:
        """Parameters from standard-normal noise, one after the other."""
        return self.draw_and_log_det(noise, before)[0]

    def draw_and_log_det(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> tuple[Float[Array, "param *batch"], Float[Array, "*batch"]]:
        """`draw`, and the log volume that the noise is stretched by."""
        n = noise.shape[0]
        # one data type for the carry, whichever the inputs have
        dtype = jnp.result_type(noise, before, self.star)
        noise, before = noise.astype(dtype), before.astype(dtype)
        blank = jnp.zeros((n, *before.shape[1:]), dtype)

        def one(carry: tuple[Array, Array], row: tuple) -> tuple:
            known, log_det = carry
            i, net, star, value = row
            loc, log_scale, spline = net(star, known[:-1])
            bent, log_slope = spline_inverse(value, spline)
            drawn = loc + jnp.exp(log_scale) * bent
            known = lax.dynamic_update_index_in_dim(
                known, drawn, before.shape[0] + i, axis=0
            )
            return (known, log_det + log_scale + log_slope), None

        # a scan, as compiling each parameter's network anew would take seconds
        start = (jnp.concatenate([before, blank]), jnp.zeros_like(noise[0]))
        rows = (jnp.arange(n), self.conditionals, self.star, noise)
        known, log_det = lax.scan(one, start, rows)[0]
        return known[before.shape[0] :], log_det

    def log_prob(
        self, values: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "*batch"]:
        """Log density, all parameters side by side."""
        return self.noise_and_log_prob(values, before)[1]

    def noise_and_log_prob(self, values: Array, before: Array) -> tuple[Array, Array]:
        """The noise that `draw` would have made the values from, and their density."""
        known = jnp.concatenate([before, values[:-1]])
        position = as_column(jnp.arange(known.shape[0]), known) - before.shape[0]

        def one(
            i: Int[Array, ""], value: Array, net: Conditional, star: Array
        ) -> tuple[Array, Array]:
            network = net(star, jnp.where(position < i, known, 0.0))
            return _noise_and_log_prob(value, network)

        order = jnp.arange(values.shape[0])
        noise, each = jax.vmap(one)(order, values, self.conditionals, self.star)
        return noise, each.sum(axis=0)

    def log_prob_columns(
        self, first: Float[Array, " column"], second: Float[Array, "column row"]
    ) -> Float[Array, "column row"]:
        """Log density of two parameters; the network runs once a column."""
        nothing = jnp.zeros((0, *first.shape), first.dtype)
        of_first = _noise_and_log_prob(first, self._net(0)(self.star[0], nothing))[1]
        network = self._net(1)(self.star[1], first[None])
        columns = jax.tree.map(lambda x: x[..., None], network)
        return of_first[:, None] + _noise_and_log_prob(second, columns)[1]

    def _net(self, i: int) -> Conditional:
        return jax.tree.map(lambda x: x[i], self.conditionals)


def _noise_and_log_prob(
    value: Array, network: tuple[Array, Array, Spline]
) -> tuple[Array, Array]:
    loc, log_scale, spline = network
    noise, log_det = spline_forward((value - loc) * jnp.exp(-log_scale), spline)
    return noise, norm.logpdf(noise) + log_det - log_scale


class AutoregressiveSpline(AbstractBijection):
    """Noise to parameters; each is a 1-D spline given the star and those before.

    One layer is enough, as a spline of enough bins takes any 1-D shape. `condition` is
    the features of the star, then the parameters that come first.
    """

    embedding: Embedding
    conditionals: Conditional  # stacked along a first axis, one a parameter
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)
    stars_at_once: ClassVar[int | None] = None  # the draws of one star fill the cache

    def given(self, features: Float[Array, "feature *batch"]) -> SplineGivenStar:
        """The flow of one star, or of a batch of stars along the last axis."""
        embedded = self.embedding(features)
        star = jnp.tensordot(self.conditionals.from_star, embedded, axes=1)
        return SplineGivenStar(self.conditionals, star)

    def transform_and_log_det(
        self, x: ArrayLike, condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Noise to parameters, in the interface of flowjax."""
        features, before = self._split(condition)
        values = self.given(features).draw(jnp.asarray(x), before)
        return values, -self.inverse_and_log_det(values, condition)[1]

    def inverse_and_log_det(
        self, y: ArrayLike, condition: ArrayLike | None = None
    ) -> tuple[Array, Array]:
        """Parameters to noise, in the interface of flowjax."""
        features, before = self._split(condition)
        noise, log_prob = self.given(features).noise_and_log_prob(
            jnp.asarray(y), before
        )
        return noise, log_prob - norm.logpdf(noise).sum()

    def _split(self, condition: ArrayLike | None) -> tuple[Array, Array]:
        if condition is None:
            raise ValueError("Expected a condition, (feature + before,); got None.")
        condition = jnp.asarray(condition)
        n_features = self.embedding.layers[0].weight.shape[-1]
        return condition[:n_features], condition[n_features:]


@dataclass(frozen=True)
class SplineFlow:
    """Size of an autoregressive spline flow."""

    embedding: tuple[int, int] = (128, 3)
    """Width and depth of the network that reads the star."""
    hidden: tuple[int, ...] = (48, 48)
    """Widths of the network of each parameter."""
    n_bins: int = 8
    """Bins of each spline."""

    def build(
        self, key: Key[Array, ""], n_dim: int, n_features: int, n_direct: int
    ) -> AutoregressiveSpline:
        """A new flow, the identity at first; call it outside `jit`."""
        # numpy draws the first weights: hundreds of small jax calls would take seconds
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        width, depth = self.embedding
        n_before, n_out = n_direct + n_dim - 1, 2 + n_raw(self.n_bins)
        sizes = (n_features, *(width,) * depth)
        layers = [
            _dense(rng, (n_dim,), a, b)
            for a, b in zip(self.hidden, (*self.hidden[1:], n_out), strict=True)
        ]
        # starts as the identity: the posterior is the prior before training
        layers[-1] = jax.tree.map(lambda x: _array(np.zeros(x.shape)), layers[-1])
        first = _weight(rng, (n_dim,), width + n_before, self.hidden[0])
        return AutoregressiveSpline(
            embedding=Embedding(
                tuple(
                    _dense(rng, (), a, b)
                    for a, b in zip(sizes[:-1], sizes[1:], strict=True)
                )
            ),
            conditionals=Conditional(
                _array(first[..., :width]), _array(first[..., width:]), tuple(layers)
            ),
            shape=(n_dim,),
            cond_shape=(n_features + n_direct,),
        )


def _dense(
    rng: np.random.Generator, stack: tuple[int, ...], n_in: int, n_out: int
) -> Dense:
    weight = _weight(rng, stack, n_in, n_out)
    return Dense(_array(weight), _array(np.zeros((*stack, n_out))))


def _weight(
    rng: np.random.Generator, stack: tuple[int, ...], n_in: int, n_out: int
) -> np.ndarray:
    limit = n_in**-0.5
    return rng.uniform(-limit, limit, (*stack, n_out, n_in))


def _array(values: np.ndarray) -> Array:
    """In float32; numpy converts, as each JAX operation would compile a program."""
    return jax.device_put(values.astype(np.float32))


def as_column(x: Array, like: Array) -> Array:
    """`x` with trailing axes of length one, as many as `like` has after its first."""
    return x.reshape(*x.shape, *(1,) * (like.ndim - 1))
