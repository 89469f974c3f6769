"""Yield sets compared with the same stars: posteriors, evidences, stacking weights.

    python experiments/compare_yields.py STARS --sets tng,nkt13+k10+w7 --out DIR

Writes comparison.md, comparison.json, posteriors.png and residuals.png, and a record of
each set into DIR/sets, from which an interrupted run goes on. The emulator of a set is
trained when it is first needed and kept in the user's cache folder. The same as the
command `chemsbi compare-yields`.
"""

import sys

from chemsbi_jax.cli.compare_yields import main
from chemsbi_jax.cli.flags import CompareFlags as Config
from chemsbi_jax.cli.run import run_script

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
