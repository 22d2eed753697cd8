"""Changes of units that are planned with an effective date, and what follows them on the day."""
