"""Takes orders and has them paid."""
