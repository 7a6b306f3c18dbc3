"""What two capabilities name: identifiers, the ten types, events, errors, codec and shared ports.

No module below performs I/O, reads a clock or draws randomness.
"""
