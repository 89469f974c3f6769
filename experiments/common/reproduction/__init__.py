"""Parts of reproduce.py: the reference's data sets, formulas, tables and training."""
