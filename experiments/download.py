"""Download the public yield tables and star tables; prints where each file lies.

    python experiments/download.py --sets all

Files in the folder `CHEMSBI_DATA` are only checked; the others go to the download
cache. Star tables that have no public address of their own come from a mirror
(`CHEMSBI_DATA`, or `--base-url`); without one, the public originals they were made
from are downloaded, but not opened: they can hold pickled objects. Makes no figure.
Exit code 2: a file could not be had.
"""

import sys

from chemsbi_jax.cli.download import main
from chemsbi_jax.cli.flags import DownloadFlags as Config
from chemsbi_jax.cli.run import run_script

if __name__ == "__main__":
    sys.exit(run_script(main, Config))
