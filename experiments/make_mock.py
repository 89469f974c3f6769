"""Make a table of mock stars of one galaxy with known parameters.

    python experiments/make_mock.py --truth -2.1 -2.6 --out mock.ecsv

The local parameters come from the paper prior and the abundances from the simulator;
noise is added once. The shipped example table is made by this script with its default
flags. Needs the published yield tables, or a table of your own (--yields FILE); or the
networks, which make a million stars in a minute:

    python experiments/make_mock.py --emulator tng --n-stars 1000000 --out mock.fits
"""

import sys

from chemsbi_jax.cli.flags import MockFlags as Config
from chemsbi_jax.cli.mock import main
from chemsbi_jax.cli.run import run_script

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
