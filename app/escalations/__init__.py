"""Warnings of deadlines, pages for urgent cases, the morning digest: who hears what, when, and once."""
