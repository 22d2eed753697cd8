"""Working together: who of a unit has a case, which units help, notes among staff, and many cases at once."""
