"""Evidence: what a citizen said, as received, and the copy of it that the public may see."""
