"""Train the posterior network on fresh noisy stars; writes weights and figures.

    python experiments/train_npe.py --emulator tng --out runs/npe

The shipped weights come from this script with its default flags (and --emulator
tng-legacy). An interrupted run with the same flags goes on where it ended.
"""

import sys

from chemsbi_jax.cli.flags import NpeFlags as Config
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.cli.train_npe import main

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
