"""Duplicates: the same problem told twice, supported by others, back again, or closed for show."""
