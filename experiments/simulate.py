"""Simulate stars with parameters drawn from a prior; writes them and a figure.

    python experiments/simulate.py --n 100000 --prior mixed --out runs/simulations

Writes simulations.npz (theta, abundances and their names; NaN where the model has no
star), the flags and the measured speed as JSON beside it, and simulations.png. Needs
the published yield tables, or a table of your own (--yields FILE).
"""

import sys

from chemsbi_jax.cli.flags import SimulateFlags as Config
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.cli.simulate import main

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
