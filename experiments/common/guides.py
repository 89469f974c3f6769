"""The exact method with and without the proposals of a posterior network."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Key

import chemsbi_jax as cs
from chemsbi_jax.galaxy.any_yields import YieldModel
from chemsbi_jax.galaxy.exact.prior_flow import PriorFlow, without_proposals
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.networks import Networks


def against_flow(
    key: Key[Array, ""], model: YieldModel, stars: cs.Stars, n_seeds: int
) -> dict:
    """Shift [sigma] and ratio of the widths: without the network minus with it.

    Both use the same forward model. Each is repeated with other draws; the mean of the
    repeats has the error that their scatter gives.

    Args:
        key: determines all draws.
        model: with a posterior network of its own yields.
        stars: any.
        n_seeds: repeats of each, at least two.

    Raises:
        InputError: the set has no posterior network.
    """
    npe, forward = model.networks
    if isinstance(npe.star_flow, PriorFlow):
        raise cs.InputError(
            f"Expected a set with a posterior network for --flow, such as tng; got "
            f"{model.name}. Leave out --flow."
        )
    blind = Networks(without_proposals(npe), forward)
    keys = jax.random.split(key, (n_seeds, 2))
    flow = [
        cs.infer_galaxy(k, npe, stars, "exact", forward=forward) for k in keys[:, 0]
    ]
    ours = [infer_guided(k, blind, stars).posterior for k in keys[:, 1]]
    sd = np.mean([p.sd for p in flow], axis=0)
    means = np.array([[p.mean for p in each] for each in (ours, flow)]) / sd
    scatter = means.std(axis=1, ddof=1)
    return {
        "set": model.name,
        "n": len(stars.values),
        "seeds": n_seeds,
        "shift": means[0].mean(axis=0) - means[1].mean(axis=0),
        "shift_error": np.sqrt((scatter**2).sum(axis=0) / n_seeds),
        "scatter": scatter[0],  # of one run without the network
        "scatter_flow": scatter[1],
        "width": np.mean([p.sd for p in ours], axis=0) / sd,
    }


def flow_line(row: dict) -> str:
    """A row of `against_flow` as a line of a list."""
    shift, error = both(row["shift"], "+.3f"), both(row["shift_error"], ".3f")
    alone, guided = both(row["scatter"], ".3f"), both(row["scatter_flow"], ".3f")
    return (
        f"- {row['set']}, {row['n']} stars: `exact` without the network minus `exact` "
        f"with it: {shift} sigma, with errors of {error}, from the means of "
        f"{row['seeds']} seeds each; scatter of single runs: {alone} sigma without the "
        f"network, {guided} with it; ratios of the widths {both(row['width'], '.3f')}"
    )


def both(values: Sequence[float] | Float[np.ndarray, " 2"], form: str) -> str:
    """The numbers of alpha_imf and log10_n_ia."""
    return " and ".join(f"{x:{form}}" for x in values)
