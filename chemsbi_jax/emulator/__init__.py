"""Neural networks in place of the simulator: the only package that imports Flax."""

from chemsbi_jax.emulator.blocks import emulate_blocks as emulate_blocks
from chemsbi_jax.emulator.conditional import FOLDER as FOLDER
from chemsbi_jax.emulator.conditional import N_SIGMA as N_SIGMA
from chemsbi_jax.emulator.conditional import YieldEmulator as YieldEmulator
from chemsbi_jax.emulator.conditional import emulate_yields as emulate_yields
from chemsbi_jax.emulator.conditional import factors_in_range as factors_in_range
from chemsbi_jax.emulator.conditional import load_yield_emulator as load_yield_emulator
from chemsbi_jax.emulator.conditional import save_yield_emulator as save_yield_emulator
from chemsbi_jax.emulator.conditional import with_factors as with_factors
from chemsbi_jax.emulator.conditional_training import FACTOR_SCALES as FACTOR_SCALES
from chemsbi_jax.emulator.conditional_training import (
    YieldEmulatorConfig as YieldEmulatorConfig,
)
from chemsbi_jax.emulator.conditional_training import factor_scales as factor_scales
from chemsbi_jax.emulator.conditional_training import sample_factors as sample_factors
from chemsbi_jax.emulator.conditional_training import (
    train_yield_emulator as train_yield_emulator,
)
from chemsbi_jax.emulator.network import REFERENCE as REFERENCE
from chemsbi_jax.emulator.network import Emulator as Emulator
from chemsbi_jax.emulator.network import EmulatorConfig as EmulatorConfig
from chemsbi_jax.emulator.network import Mlp as Mlp
from chemsbi_jax.emulator.network import emulate as emulate
from chemsbi_jax.emulator.network import in_range as in_range
from chemsbi_jax.emulator.network import load_emulator as load_emulator
from chemsbi_jax.emulator.network import require_eight as require_eight
from chemsbi_jax.emulator.network import save_emulator as save_emulator
from chemsbi_jax.emulator.network import train_emulator as train_emulator
