"""References to secrets, and their masking."""
