"""What is run around the product and not in it: set-up, demo data, checks."""
