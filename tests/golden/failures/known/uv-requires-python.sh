# label: python-version
printf '[project]\nname="orders"\nversion="1"\nrequires-python=">=3.99"\ndependencies=[]\n' > pyproject.toml
#---
uv sync --offline
