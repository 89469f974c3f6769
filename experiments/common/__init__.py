"""Helpers that several scripts share."""
