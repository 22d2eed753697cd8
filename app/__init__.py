"""phananh: the citizen-feedback backend of a Vietnamese province."""
