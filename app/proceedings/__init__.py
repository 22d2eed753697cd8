"""Proceedings: what goes on about one case between citizen, unit, lead and leader, beside the plain road."""
