"""Judges reports against a policy and says the mend."""
