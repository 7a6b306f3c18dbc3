"""SBOMs, provenance, signatures and advisories."""
