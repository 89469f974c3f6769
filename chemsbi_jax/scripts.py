"""Former home of what scripts share; kept so that older scripts still import it."""

from chemsbi_jax.cli.run import check_flags as check_flags
from chemsbi_jax.cli.run import run_script as run_script
from chemsbi_jax.cli.run import training_flags as training_flags
from chemsbi_jax.cli.run import write_record as write_record
from chemsbi_jax.galaxy.networks import load_networks as load_networks
from chemsbi_jax.results.stopwatch import Stopwatch as Stopwatch
from chemsbi_jax.results.stopwatch import union_length as union_length
from chemsbi_jax.simulator.blocks import SIMULATE_BLOCK as SIMULATE_BLOCK
from chemsbi_jax.simulator.blocks import simulate_blocks as simulate_blocks
