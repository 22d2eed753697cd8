"""Who is on duty: the roster that khẩn pages by, and who else is there to be told."""
