"""Accounts, sign-in, roles, the identity vault and its access log."""
