"""Takes payments for orders."""
