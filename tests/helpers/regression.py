"""A linear regression, trained for a few epochs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from chemsbi_jax.compute.train import FitConfig, fit

N_EPOCHS = 5
SHORT = FitConfig(n_epochs=N_EPOCHS, steps_per_epoch=20)


def regression(n: int = 400):
    """Noisy linear data; the least-squares line is known."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(n, 3)), np.ones(n)])
    y = x @ np.array([0.5, -1.0, 2.0, 0.3]) + 0.2 * rng.normal(size=n)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def rows(key, data):
    """A batch of 64 rows."""
    index = jax.random.randint(key, (64,), 0, len(data[0]))
    return data[0][index], data[1][index]


def squared(params, batch, data):
    """Mean squared error."""
    return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)


def run(config=SHORT, seed=0, width=4, **options):
    """Train on the regression; `draw`, `loss`, ... may be replaced."""
    data = regression()
    arguments = {
        "optimizer": optax.adam(0.02),
        "draw": rows,
        "loss": squared,
        "data": data,
        "held_out": data,
        "quiet": True,
    }
    params = {"w": jnp.zeros(width)}
    key = jax.random.key(seed)
    return fit(key, params, config=config, **(arguments | options))


def assert_same_bits(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def towards_one(start: float = 0.0, **options):
    """One parameter on its way from `start` to 1; the held-out best is 0.5."""
    return fit(
        jax.random.key(0),
        jnp.asarray(start),
        optimizer=optax.sgd(0.05),
        draw=lambda key, data: data,
        loss=lambda w, batch, data: (w - batch) ** 2,
        data=jnp.asarray(1.0),
        held_out=jnp.asarray(0.5),
        quiet=True,
        **options,
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
