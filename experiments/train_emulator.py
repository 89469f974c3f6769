"""Train the emulator on fresh simulations; writes weights, losses and error figures.

    python experiments/train_emulator.py --out runs/emulator

The shipped weights come from this script with its default flags (and --physics legacy
for tng-legacy). An interrupted run with the same flags goes on where it ended.

    python experiments/train_emulator.py --free-yields --yields NAME --out runs/NAME

trains the conditional emulator f(theta, yield factors): first the emulator of the yield
set, unless --out has one, then the network of the factors, into the sub-folder yields.
"""

import sys

from chemsbi_jax.cli.flags import EmulatorFlags as Config
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.cli.train_emulator import main

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
