"""What a repository is, how it comes to Aegis, and how its environment is made and its tests are run."""
