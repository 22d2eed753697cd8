"""What an administrator enters about time, and the deadlines that move by it."""
