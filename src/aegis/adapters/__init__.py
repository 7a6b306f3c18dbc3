"""The outside: one module per role and system. Plain values in, `NotFound`, `Conflict` and `ExternalError` out."""
