"""Star tables: read, check, report and write them."""

from chemsbi_jax.catalog.read import Catalog as Catalog
from chemsbi_jax.catalog.read import CatalogOptions as CatalogOptions
from chemsbi_jax.catalog.read import read_catalog as read_catalog
from chemsbi_jax.catalog.read import read_stars as read_stars
from chemsbi_jax.catalog.write import write_stars as write_stars
from chemsbi_jax.errors import CatalogError as CatalogError
