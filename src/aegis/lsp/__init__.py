"""The editors' door: the language server protocol for `.gitlab-ci.yml`. Decides nothing about pipelines."""
