"""What may be asked, what may be read, and what follows what."""
