"""A batch over several devices gives what one device gives."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.compute.devices import spread, use_all_cores

SCRIPT = """
import json, os
import jax, jax.numpy as jnp, numpy as np
from chemsbi_jax.compute import devices
devices.n_cores = lambda: 3
devices.use_all_cores()
n_devices = jax.local_device_count()
devices.use_all_cores()  # too late to change anything, and harmless

def model(batch, scale):
    def step(carry, x):
        return carry + x * scale["by"], None
    total = jax.lax.scan(step, jnp.zeros(()), jnp.arange(3.0))[0]
    return {"sum": batch["x"].sum(axis=1) * total, "same": batch["x"]}

run = devices.spread(model)
same = []
for n in (0, 1, 2, 3, 7, 100):
    batch, scale = {"x": np.arange(2.0 * n).reshape(n, 2)}, {"by": 2.0}
    out, plain = run(batch, scale), model(batch, scale)
    same.append(all(
        out[k].shape == np.shape(plain[k]) and np.array_equal(out[k], plain[k])
        for k in plain
    ))
again = run({"x": out["same"]}, scale)  # what came out goes in
keys = jax.random.split(jax.random.key(0), 5)
draws = devices.spread(jax.vmap(jax.random.normal))(keys)
print(json.dumps({
    "n_devices": n_devices, "same": same, "name": run.__name__,
    "again": np.array_equal(again["same"], out["same"]),
    "draws": np.array_equal(draws, jax.vmap(jax.random.normal)(keys)),
    "on": len(out["sum"].devices()),
}))
"""


@pytest.fixture(scope="module")
def three_devices():
    """Another process: the number of devices is fixed once JAX has started."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_cores_are_devices(three_devices):
    assert three_devices["n_devices"] == 3


def test_any_batch_gives_what_one_device_gives(three_devices):
    assert three_devices["same"] == [True] * 6
    assert three_devices["draws"]
    assert three_devices["name"] == "model"


def test_results_are_on_one_device_and_can_be_used_again(three_devices):
    assert three_devices["on"] == 1
    assert three_devices["again"]


def test_in_this_process():
    use_all_cores()
    before = jax.local_device_count()
    double = spread(lambda x, y: 2 * x + y)
    np.testing.assert_array_equal(double(jnp.arange(5), 1), 2 * np.arange(5) + 1)
    use_all_cores()
    assert jax.local_device_count() == before
