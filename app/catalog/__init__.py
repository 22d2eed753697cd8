"""What may be reported, who answers for it, what the phone must know."""
