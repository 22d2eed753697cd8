"""Addresses: where a point is in words, and which commune an address of today or of before means."""
