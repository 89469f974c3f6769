"""Several yield sets as one, so that one compilation and one `vmap` serve all."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from chemsbi_jax.yields.types import SourceYields, Yields


def stack_yields(sets: Sequence[Yields]) -> Yields:
    """The sets with a leading axis, for `jax.vmap`.

    Mass bins without width and copies of the highest metallicity, which change no
    result, fill the smaller tables.

    Raises:
        ValueError: the sets trace different elements.
    """
    elements = {yields.elements for yields in sets}
    if len(elements) != 1:
        raise ValueError(f"Expected sets of the same elements; got {elements}.")
    sn2, agb = _filled([y.sn2 for y in sets]), _filled([y.agb for y in sets])
    filled = [y._replace(sn2=s, agb=a) for y, s, a in zip(sets, sn2, agb, strict=True)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *filled)


def _filled(sources: list[SourceYields]) -> list[SourceYields]:
    shapes = [source.unprocessed.shape for source in sources]
    n_z, n_bins = (max(sizes) for sizes in zip(*shapes, strict=True))
    return [_fill(source, n_z, n_bins) for source in sources]


def _fill(source: SourceYields, n_z: int, n_bins: int) -> SourceYields:
    z, bins = (
        n - size
        for n, size in zip((n_z, n_bins), source.unprocessed.shape, strict=True)
    )
    above = source.log10_metallicity[-1] + jnp.arange(1.0, z + 1.0)
    return SourceYields(
        jnp.concatenate([source.log10_metallicity, above]),
        jnp.pad(source.mass_edges, (0, bins), mode="edge"),
        jnp.pad(source.net, ((0, z), (0, bins), (0, 0)), mode="edge"),
        jnp.pad(source.unprocessed, ((0, z), (0, bins)), mode="edge"),
    )
