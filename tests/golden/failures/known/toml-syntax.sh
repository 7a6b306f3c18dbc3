# label: syntax-error|toml-syntax
printf '[project\nname="x"\n' > pyproject.toml
#---
uv sync --offline
