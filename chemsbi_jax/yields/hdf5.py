"""Data sets of HDF5 files as numpy arrays; h5py's annotation allows other objects."""

import h5py
import numpy as np
from jaxtyping import Float

from chemsbi_jax.yields.errors import YieldsError


def array(file: h5py.File, name: str) -> np.ndarray:
    """The whole content of a data set.

    Args:
        file: open for reading.
        name: path inside the file, as `Yields/Z_0.004/Yield`.

    Raises:
        YieldsError: there is no data set of this name.
    """
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise YieldsError(f"{file.filename}: expected a data set {name}; got none.")
    return np.asarray(found[()])


def floats(file: h5py.File, name: str) -> Float[np.ndarray, "..."]:
    """A data set of numbers as float64."""
    return array(file, name).astype(float)


def texts(file: h5py.File, name: str) -> list[str]:
    """A data set of strings."""
    return [text.decode() for text in array(file, name)]
