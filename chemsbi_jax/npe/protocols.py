"""What a flow and a reader must have, so that a new one fits into `Npe`.

To add a flow: write an `eqx.Module` with the members of `ConditionalFlow` whose `given`
returns an object with the members of `FlowOfStar`, and a frozen dataclass with its
sizes and a method `build(key, n_dim, n_features, n_direct)` (see `flow.SplineFlow`);
name the dataclass in `storage.FLOWS`. The tests of `test_npe.py` then take it as a
further case.

To add a reader: write an `eqx.Module` with the members of `Reader`, and a class of
measurements that makes it (see `measurements.AnyErrors`).
"""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.types import Stars


@runtime_checkable
class FlowOfStar(Protocol):
    """Conditional density of some latents of one star, or of a batch of stars.

    Latents lie along the first axis, draws or stars along the last. `before` has the
    latents that come first: none for the galaxy's, the galaxy's two for the star's.
    """

    def draw(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "param *batch"]:
        """Latents from standard normals."""
        ...

    def draw_and_log_det(
        self, noise: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> tuple[Float[Array, "param *batch"], Float[Array, "*batch"]]:
        """Latents from standard normals, and the log volume of the map."""
        ...

    def log_prob(
        self, values: Float[Array, "param *batch"], before: Float[Array, "known *batch"]
    ) -> Float[Array, "*batch"]:
        """Log density of latents."""
        ...

    def log_prob_columns(
        self, first: Float[Array, " column"], second: Float[Array, "column row"]
    ) -> Float[Array, "column row"]:
        """Log density of two latents on a grid whose columns share the first one."""
        ...


@runtime_checkable
class ConditionalFlow(Protocol):
    """A flow whose parameters depend on the features of a star."""

    stars_at_once: ClassVar[int | None]
    """Stars that one core samples side by side; None: one after the other."""

    def given(self, features: Float[Array, "feature *batch"]) -> FlowOfStar:
        """The flow of one star, or of a batch of stars along the last axis."""
        ...


@runtime_checkable
class Reader(Protocol):
    """Converts rows of a star table into inputs, and inputs into features."""

    @property
    def n_features(self) -> int:
        """Length of the first axis of the features."""
        ...

    @property
    def abundances(self) -> tuple[str, ...]:
        """Abundances that the network reads, in the order of its inputs."""
        ...

    @property
    def reads_times(self) -> bool:
        """Whether birth times are among its inputs."""
        ...

    def __call__(self, inputs: Float[Array, "*star input"]) -> Array:
        """Features (feature, *star) of inputs."""
        ...

    def inputs(self, stars: Stars, name: str = ...) -> np.ndarray:
        """Inputs (star, input) of a table; refuses stars that the reader can't use."""
        ...

    def rough_inputs(self, stars: Stars) -> np.ndarray:
        """`inputs` of any stars, for a proposal distribution."""
        ...

    def measure(
        self,
        like: Float[Array, "star input"],
        abundances: Float[Array, "star element"],
        birth_time: Float[Array, " star"],
        noise: Float[Array, "star reading"],
    ) -> Float[Array, "star input"]:
        """Inputs of model stars with the errors and gaps of `like`."""
        ...

    def stars(self, inputs: Float[np.ndarray, "star input"]) -> Stars:
        """A table with these inputs; inverse of `inputs`."""
        ...

    def typical(self, inputs: Float[np.ndarray, "star input"]) -> np.ndarray | None:
        """Inputs of mean stars with similar errors; None if all stars have the same."""
        ...

    def blank(self) -> Float[Array, " input"]:
        """Inputs of a padding row."""
        ...
