"""The repository of manifests: what should run where, how it changes, and whether it does."""
