# label: lock-missing
printf '[project]\nname="pay"\nversion="1"\nrequires-python=">=3.11"\ndependencies=[]\n' > pyproject.toml
#---
uv sync --frozen
