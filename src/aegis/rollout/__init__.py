"""Moves traffic step by step and decides by statistics."""
