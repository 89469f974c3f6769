"""Classifier two-sample test: can a classifier separate two sets of draws?

Lopez-Paz & Oquab 2017 (arXiv:1610.06545). Held-out accuracy 0.5 = the sets agree, 1 =
they share nothing. The classifier is a logistic regression on the quadratic terms of
the whitened draws, which is the best one for two Gaussians, and on random ridge
functions for other shapes; it is convex, so there is nothing to tune. Thin Markov
chains first: neighbors in both the training and the held-out part fool the test.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from chemsbi_jax.types import AnyArray

N_STEPS = 200  # of the fit; each is one product with a fixed inverse
RIDGE = 1.0  # prior precision of each weight


class C2st(NamedTuple):
    """Held-out accuracy of the classifier."""

    accuracy: float  # mean over the folds
    standard_error: float  # binomial; folds share data, real scatter is 1.4 times it
    folds: Float[AnyArray, " fold"]  # accuracy in each fold


def c2st(
    key: Key[Array, ""],
    first: Float[AnyArray, "n p"],
    second: Float[AnyArray, "k p"],
    n_folds: int = 5,
    n_features: int = 64,
) -> C2st:
    """Cross-validated accuracy; a random part of the larger set is used.

    `n_features` random ridge functions are added to the quadratic terms.
    """
    first, second = jnp.asarray(first), jnp.asarray(second)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            "Expected two sets of shapes (n, p) and (k, p); "
            f"got {first.shape} and {second.shape}."
        )
    size = min(len(first), len(second)) // n_folds * n_folds
    if n_folds < 2 or size < 10 * n_folds:
        raise ValueError(
            f"Expected at least 2 folds and 10 draws in each; got {n_folds} folds of "
            f"{len(first)} and {len(second)} draws."
        )
    key_first, key_second, key_features = jax.random.split(key, 3)
    both = jnp.stack(
        [
            jax.random.permutation(key_first, first)[:size],
            jax.random.permutation(key_second, second)[:size],
        ]
    )
    if not bool(jnp.isfinite(both).all()):
        raise ValueError("Expected finite draws; got NaN or inf.")
    folds = _fold_accuracy(key_features, both, n_folds, n_features)
    accuracy = float(folds.mean())
    error = (accuracy * (1 - accuracy) / (2 * size)) ** 0.5
    return C2st(accuracy, error, folds)


@partial(jax.jit, static_argnames=("n_folds", "n_features"))
def _fold_accuracy(
    key: Key[Array, ""], both: Float[AnyArray, "2 n p"], n_folds: int, n_features: int
) -> Float[AnyArray, " fold"]:
    feature = _features(key, both.reshape(-1, both.shape[-1]), n_features)
    label = jnp.repeat(jnp.arange(2.0), both.shape[1])
    # the draws are shuffled, so that each fold has as many of the one set as the other
    fold = jnp.tile(jnp.arange(both.shape[1]) % n_folds, 2)

    def accuracy(held_out: Array) -> Array:
        kept = (fold != held_out).astype(feature.dtype)
        right = (feature @ _fit(feature, label, kept) > 0) == (label > 0.5)
        return jnp.average(right, weights=1.0 - kept)

    return jax.lax.map(accuracy, jnp.arange(n_folds))


def _features(
    key: Key[Array, ""], draws: Float[AnyArray, "n p"], n_features: int
) -> Float[AnyArray, "n feature"]:
    """Constant, linear, quadratic and random tanh terms of the whitened draws."""
    p = draws.shape[-1]
    draws = (draws - draws.mean(0)) / (draws.std(0) + 1e-30)  # a constant stays 0
    value, vector = jnp.linalg.eigh(draws.T @ draws / len(draws))
    white = draws @ vector / jnp.sqrt(jnp.maximum(value, 1e-6))
    *slope, offset = jax.random.normal(key, (p + 1, n_features))
    row, column = jnp.triu_indices(p)
    terms = [
        white,
        white[:, row] * white[:, column],
        jnp.tanh(white @ jnp.stack(slope) + offset),
    ]
    terms = jnp.concatenate(terms, axis=-1)
    terms = (terms - terms.mean(0)) / (terms.std(0) + 1e-6)
    return jnp.concatenate([jnp.ones_like(terms[:, :1]), terms], axis=-1)


def _fit(
    feature: Float[AnyArray, "n feature"],
    label: Float[AnyArray, " n"],
    kept: Float[AnyArray, " n"],
) -> Float[AnyArray, " feature"]:
    """Ridge logistic regression by the bound of Boehning & Lindsay 1988.

    The Hessian is nowhere above X'X / 4 + ridge, so steps with its inverse never
    overshoot, also where the two sets don't overlap.
    """
    weighted = feature * kept[:, None]
    bound = 0.25 * weighted.T @ feature + RIDGE * jnp.eye(feature.shape[1])
    inverse = jnp.linalg.inv(bound)

    def step(weight: Array, _: None) -> tuple[Array, None]:
        residual = label - jax.nn.sigmoid(feature @ weight)
        gradient = weighted.T @ residual - RIDGE * weight
        return weight + inverse @ gradient, None

    start = jnp.zeros(feature.shape[1], feature.dtype)
    return jax.lax.scan(step, start, length=N_STEPS)[0]
