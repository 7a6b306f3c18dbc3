"""Bases out of Debian packages: which packages (`solve`), exactly which (`lock`), what is in them (`package`), as layers (`base`)."""
