"""The whole inference in one call: method, checks, warnings and figures."""

from chemsbi_jax.inference.checks import Checks as Checks
from chemsbi_jax.inference.infer import infer as infer
from chemsbi_jax.inference.infer import infer_as_worker as infer_as_worker
from chemsbi_jax.inference.result import Inference as Inference
from chemsbi_jax.options import Limits as Limits
