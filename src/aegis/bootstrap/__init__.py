"""The composition root: the only package that names concrete adapters. One module per way of running."""
