"""Intake: how a report gets in, once and for all, at a fraction of what an ORM would take."""
