"""Seals: the heads of all chains, every night, in a signed log that outsiders can check."""
