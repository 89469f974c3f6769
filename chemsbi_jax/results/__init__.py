"""Files that a run writes: summary.json, posterior.nc, posterior.ecsv, report.html."""

from chemsbi_jax.errors import OutputError as OutputError
from chemsbi_jax.results.assessment import Verdict as Verdict
from chemsbi_jax.results.assessment import verdict as verdict
from chemsbi_jax.results.output import provenance as provenance
from chemsbi_jax.results.output import summary as summary
from chemsbi_jax.results.output import write_ecsv as write_ecsv
from chemsbi_jax.results.output import write_posterior as write_posterior
from chemsbi_jax.results.output import write_summary as write_summary
from chemsbi_jax.results.output import write_table as write_table
from chemsbi_jax.results.report_figures import FIGURES as FIGURES
from chemsbi_jax.results.report_figures import delete_earlier as delete_earlier
from chemsbi_jax.results.report_figures import read_figures as read_figures
from chemsbi_jax.results.report_page import ReportFigure as ReportFigure
from chemsbi_jax.results.report_page import write_report as write_report
from chemsbi_jax.types import GalaxyPosterior as GalaxyPosterior
