"""Reads `.gitlab-ci.yml` as GitLab does and turns it into a plan."""
