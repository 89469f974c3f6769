"""What several tests share, without fixtures: those are in conftest.py files."""
