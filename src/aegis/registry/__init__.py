"""Images and packages, by their standard protocols."""
