"""Messages owed and sent, and the providers that carry them."""
