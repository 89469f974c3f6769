"""The IMF slope and number of SNe Ia of a galaxy from a table of its stars.

Writes report.html, summary.json, posterior.nc, posterior.ecsv and figures into --out:

    python experiments/infer.py STARS --out DIR

Exit code 0: done; 2: the input cannot be used; 3: done, with warnings and --strict.
The same as the command `chemsbi infer`.
"""

import sys

from chemsbi_jax.cli.flags import InferFlags as Config
from chemsbi_jax.cli.run import run_script, seldom_collected

with seldom_collected():  # an eighth of the time of these imports
    from chemsbi_jax.cli.infer import exit_code, main

if __name__ == "__main__":
    sys.exit(run_script(main, Config, exit_code))
