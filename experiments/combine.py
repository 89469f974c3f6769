"""One galaxy from several catalogues of its stars, which `infer.py` has run.

    python experiments/combine.py RUN RUN --out DIR

Writes combined.json, combined.ecsv, combined.md, combined.png and yields.png. Exit
code 0: done; 2: the input cannot be used; 3: done, with warnings and --strict. The
same as the command `chemsbi combine`.
"""

import sys

from chemsbi_jax.cli.combine import exit_code, main
from chemsbi_jax.cli.combine_flags import CombineFlags as Config
from chemsbi_jax.cli.run import run_script

if __name__ == "__main__":
    sys.exit(run_script(main, Config, exit_code))
