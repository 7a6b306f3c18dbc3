"""The main job: an example carried from a push to production through the public interfaces only."""
