"""Neural posterior estimation for one star: the only package that imports flowjax."""

from chemsbi_jax.npe.flow import SplineFlow as SplineFlow
from chemsbi_jax.npe.maf import MafFlow as MafFlow
from chemsbi_jax.npe.measurements import AnyErrors as AnyErrors
from chemsbi_jax.npe.measurements import OneError as OneError
from chemsbi_jax.npe.model import Npe as Npe
from chemsbi_jax.npe.model import global_latent_log_prob as global_latent_log_prob
from chemsbi_jax.npe.model import global_slope as global_slope
from chemsbi_jax.npe.model import log_prob as log_prob
from chemsbi_jax.npe.storage import choose_weights as choose_weights
from chemsbi_jax.npe.storage import load_npe as load_npe
from chemsbi_jax.npe.storage import save_npe as save_npe
from chemsbi_jax.npe.training import REFERENCE as REFERENCE
from chemsbi_jax.npe.training import FreshStars as FreshStars
from chemsbi_jax.npe.training import NpeConfig as NpeConfig
from chemsbi_jax.npe.training import StoredStars as StoredStars
from chemsbi_jax.npe.training import new_npe as new_npe
from chemsbi_jax.npe.training import train_npe as train_npe
