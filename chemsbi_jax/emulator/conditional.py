r"""The conditional emulator f(theta, yield factors): abundances for any scaled yields.

It adds to the emulator of one yield set the change that the factors make. The mass of
an element is a sum over its sources, so the change is nearly

.. math:: \Delta[X/H] = \log_{10} \sum_c s_{X,c}(\theta)\,10^{\phi_{X,c}},

with the shares s of the sources c from one network of theta. A second network adds what
the sum leaves out (metallicity changes lifetimes and yields, and hydrogen makes room);
it takes differences from its own state at factors of zero, so it vanishes there.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PyTree

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS, YIELD_FACTORS
from chemsbi_jax.emulator.network import (
    Emulator,
    emulate,
    load_emulator,
    require_eight,
)
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.storage.weights import (
    load_arrays,
    load_spec,
    save_weights,
    training_of,
    weights_folder,
)
from chemsbi_jax.types import AnyArray

FOLDER = "yields"  # of the factor network, inside the folder of its emulator
N_SIGMA = 3.0  # the training covers the factors up to this multiple of their scale
CHANGE_SCALE = 4.0  # 1/dex: the network's inputs are of order one
N_SOURCES = len(YIELD_FACTORS) + len(ABUNDANCES)  # each element has "all others", too
IRON = ABUNDANCES.index("fe_h")
LN10 = float(np.log(10.0))


class YieldEmulator(NamedTuple):
    """The emulator of one yield set, and a network for factors on these yields."""

    base: Emulator  # abundances at factors of zero
    network: PyTree  # Flax parameters
    factor_limit: Float[Array, " factor"]  # largest absolute log10 factor of training


class SavedNetwork(NamedTuple):
    """What the file of a `YieldEmulator` holds; its base has a file of its own."""

    network: PyTree
    factor_limit: Float[Array, " factor"]


class FactorNetwork(nn.Module):
    """Change of [X/H] by yield factors; its widths are `trunk` and `width`."""

    trunk: int
    width: int

    @nn.compact
    def __call__(self, x: Array, factors: Array, scaled: Array) -> Array:
        """Change (..., 8) in dex, exactly zero at factors of zero.

        Args:
            x: standardised theta (..., 6).
            factors: log10 factors (..., 11).
            scaled: factors in units of their scale.
        """
        for name in ("trunk_0", "trunk_1"):
            x = nn.tanh(nn.Dense(self.trunk, name=name)(x))
        mass = jnp.exp(nn.Dense(N_SOURCES, name="sources")(x))
        mixed = _mixed(mass, factors)
        state = jnp.concatenate([CHANGE_SCALE * mixed, scaled], axis=-1)
        state = self._difference(0, x, state)
        state = self._difference(1, x, state)
        state = state * (1.0 + nn.Dense(self.width, name="gate")(x))
        return mixed + nn.Dense(len(ABUNDANCES), use_bias=False, name="out")(state)

    def _difference(self, i: int, x: Array, state: Array) -> Array:
        """Tanh of a layer whose bias depends on theta, less its value at state 0."""
        bias = nn.Dense(self.width, name=f"bias_{i}")(x)
        moved = nn.Dense(self.width, use_bias=False, name=f"layer_{i}")(state)
        return nn.tanh(bias + moved) - nn.tanh(bias)


def _mixed(mass: Array, factors: Array) -> Array:
    """log10 of the sum over the sources of an element, relative to factors of zero."""
    of_element = jnp.asarray(ELEMENT_OF_FACTOR, mass.dtype)
    source, others = jnp.split(mass, [len(YIELD_FACTORS)], axis=-1)
    total = source @ of_element + others
    more = (source * jnp.expm1(LN10 * factors)) @ of_element
    return jnp.log1p(more / total) / LN10


def _element_of_factor() -> np.ndarray:
    symbols = [name.split("_")[0] for name in ABUNDANCES]
    rows = [symbols.index(name.split("_")[1]) for name in YIELD_FACTORS]
    return np.eye(len(ABUNDANCES))[rows]


ELEMENT_OF_FACTOR = _element_of_factor()
"""(factor, abundance): 1 where the factor is one of this element."""


def emulate_yields(
    theta: Float[ArrayLike, "*#batch param"],
    factors: Float[ArrayLike, "*#batch factor"],
    emulator: YieldEmulator,
) -> Float[Array, "*batch element"]:
    """Abundances [dex] as `simulate_factors` gives them, from the networks.

    Args:
        theta: parameters (..., 6) in the order of `PARAMETERS`.
        factors: log10 factors (..., 11) in the order of `constants.YIELD_FACTORS`;
            leading axes broadcast with those of `theta`.
        emulator: `load_yield_emulator` or `train_yield_emulator`.

    Returns:
        (..., 8) dex in the order of `ABUNDANCES`; NaN outside the box of the training
        in theta or in the factors (`factors_in_range`). At factors of zero it equals
        `emulate` with `emulator.base` to the bit.

    Raises:
        ValueError: the last axis of `theta` is not 6, or that of `factors` not 11.
    """
    shape = jnp.shape(factors)
    if not shape or shape[-1] != len(YIELD_FACTORS):
        raise ValueError(
            f"Expected factors of shape (..., {len(YIELD_FACTORS)}), in the order "
            f"{YIELD_FACTORS}; got {shape}."
        )
    return with_factors(emulate(theta, emulator.base), theta, factors, emulator)


def with_factors(
    base: Float[Array, "*#batch element"],
    theta: Float[ArrayLike, "*#batch param"],
    factors: Float[ArrayLike, "*#batch factor"],
    emulator: YieldEmulator,
) -> Float[Array, "*batch element"]:
    """Abundances [dex] with factors, from those without.

    Args:
        base: `emulate(theta, emulator.base)`, (..., 8).
        theta: parameters (..., 6).
        factors: log10 factors (..., 11), as for `emulate_yields`.
        emulator: the conditional one.

    Returns:
        (..., 8) dex; NaN where `emulate_yields` has NaN.
    """
    theta = jnp.asarray(theta, emulator.base.theta_mean.dtype)
    factors = jnp.asarray(factors, emulator.factor_limit.dtype)
    inside = factors_in_range(factors, emulator)[..., None]
    # where the factors are out of range, so may be the exponentials: keep gradients
    safe = jnp.where(inside, factors, 0.0)
    change = predict_change(theta, safe, emulator)
    return jnp.where(inside, base + change, jnp.nan)


def factors_in_range(
    factors: Float[AnyArray, "*batch factor"], emulator: YieldEmulator
) -> Bool[Array, "*batch"]:
    """Whether each vector of factors lies in the box that the training covered."""
    return jnp.all(jnp.abs(factors) <= emulator.factor_limit, axis=-1)


def predict_change(
    theta: Float[Array, "*#batch param"],
    factors: Float[Array, "*#batch factor"],
    emulator: YieldEmulator,
) -> Float[Array, "*batch element"]:
    """Change of the abundances [dex] by the factors, wherever they lie."""
    x = (theta - emulator.base.theta_mean) / emulator.base.theta_scale
    scaled = N_SIGMA * factors / emulator.factor_limit
    batch = jnp.broadcast_shapes(theta.shape[:-1], factors.shape[:-1])
    x, factors, scaled = (
        jnp.broadcast_to(a, (*batch, a.shape[-1])) for a in (x, factors, scaled)
    )
    network = FactorNetwork(*network_size(emulator))
    x_h = jnp.asarray(network.apply(emulator.network, x, factors, scaled))
    fe_h = x_h[..., IRON, None]
    return jnp.where(jnp.arange(len(ABUNDANCES)) == IRON, x_h, x_h - fe_h)


def network_size(emulator: YieldEmulator) -> tuple[int, int]:
    """Widths of the trunk and of the layers of the factor network."""
    layers = emulator.network["params"]
    return layers["trunk_1"]["bias"].shape[0], layers["gate"]["bias"].shape[0]


def init_network(key: Key[Array, ""], trunk: int, width: int) -> PyTree:
    """First parameters of a factor network."""
    theta, factors = jnp.zeros(len(PARAMETERS)), jnp.zeros(len(YIELD_FACTORS))
    return FactorNetwork(trunk, width).init(key, theta, factors, factors)


def save_yield_emulator(folder: Path, emulator: YieldEmulator, spec: Mapping) -> None:
    """Write the factor network into `folder`/yields, beside its emulator.

    Args:
        folder: has emulator.safetensors and emulator.json of `emulator.base`.
        emulator: what is saved; its base is not written again.
        spec: see `save_weights`.
    """
    full = {
        "factors": list(YIELD_FACTORS),
        "hidden": list(network_size(emulator)),
        "base_sha256": load_spec(folder, "emulator").get("sha256"),
        **spec,
    }
    path = Path(folder) / FOLDER
    path.mkdir(parents=True, exist_ok=True)
    save_weights(path, "emulator", SavedNetwork(*emulator[1:]), full)


def load_yield_emulator(name: str | os.PathLike = "tng") -> YieldEmulator:
    """Shipped weights "tng" (default), or those in a folder with its emulator.

    Raises:
        WeightsError: unknown name, a folder without a factor network, or
            weights that do not fit this package or the emulator in the folder.
    """
    base = load_emulator(name)
    require_eight(base, name)
    folder = weights_folder(name)
    path = folder / FOLDER / "emulator.json"
    if not path.is_file():
        raise WeightsError(
            f"{path}: expected weights for free yields; got no such file. Train them "
            f"with {training_of('emulator')} --free-yields --out {folder}."
        )
    spec = load_spec(path.parent, "emulator")
    size = _checked_size(path, spec, load_spec(folder, "emulator").get("sha256"))
    network = jax.eval_shape(lambda k: init_network(k, *size), jax.random.key(0))
    limits = jax.device_put(np.zeros(len(YIELD_FACTORS)))
    like = SavedNetwork(network, limits)
    return YieldEmulator(base, *load_arrays(path.parent, "emulator", like))


def _checked_size(path: Path, spec: Mapping, base: str | None) -> tuple[int, int]:
    size = spec.get("hidden")
    expected = {"factors": list(YIELD_FACTORS), "base_sha256": base}
    differs = [
        f"{k} is {spec.get(k)!r}, expected {v!r}"
        for k, v in expected.items()
        if spec.get(k) != v
    ]
    if not _is_size(size):
        differs.append(f"hidden is {size!r}, expected two widths")
    if differs:
        raise WeightsError(
            f"{path}: these weights do not fit this package or the emulator beside "
            f"them: {'; '.join(differs)}. Train them again with "
            f"{training_of('emulator')} --free-yields, or name another folder."
        )
    trunk, width = spec["hidden"]
    return trunk, width


def _is_size(size: object) -> bool:
    if not isinstance(size, list) or len(size) != 2:
        return False
    return all(type(w) is int and w > 0 for w in size)
