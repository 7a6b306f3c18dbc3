# label: lock-outdated
printf '[project]\nname="orders"\nversion="1"\nrequires-python=">=3.11"\ndependencies=[]\n' > pyproject.toml
uv lock --offline
printf '[project]\nname="orders"\nversion="1"\nrequires-python=">=3.11"\ndependencies=["beta"]\n[[tool.uv.index]]\nurl="%s/simple"\ndefault=true\n' $REGISTRY > pyproject.toml
#---
uv sync --locked
