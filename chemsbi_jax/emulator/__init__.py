"""Neural networks in place of the simulator: the only package that imports Flax."""

from chemsbi_jax.emulator.conditional import YieldEmulator as YieldEmulator
from chemsbi_jax.emulator.conditional import emulate_yields as emulate_yields
from chemsbi_jax.emulator.conditional import load_yield_emulator as load_yield_emulator
from chemsbi_jax.emulator.network import REFERENCE as REFERENCE
from chemsbi_jax.emulator.network import Emulator as Emulator
from chemsbi_jax.emulator.network import EmulatorConfig as EmulatorConfig
from chemsbi_jax.emulator.network import Mlp as Mlp
from chemsbi_jax.emulator.network import emulate as emulate
from chemsbi_jax.emulator.network import in_range as in_range
from chemsbi_jax.emulator.network import load_emulator as load_emulator
from chemsbi_jax.emulator.network import save_emulator as save_emulator
from chemsbi_jax.emulator.network import train_emulator as train_emulator
