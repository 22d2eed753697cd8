"""Who owns this place and this category."""
