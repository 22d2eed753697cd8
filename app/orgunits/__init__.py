"""Units in time."""
