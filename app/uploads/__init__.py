"""Resumable uploads (tus 1.0): a picture that arrives in pieces, over networks that drop."""
