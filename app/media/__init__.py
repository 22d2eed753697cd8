"""Pictures: uploads, what is made of them, who may see them."""
