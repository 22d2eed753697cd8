"""Measures, told from the events of cases alone."""
