"""`make bench`: every promise on speed and memory as a ratio to a bare reference, measured in the same run."""
