"""Turns a checked-out project into a wheel or an image, without a daemon and reproducibly."""
