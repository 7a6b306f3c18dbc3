# label: lock-outdated
printf '[project]\nname="pay"\nversion="1"\nrequires-python=">=3.11"\ndependencies=[]\n' > pyproject.toml
uv lock --offline
sed -i 's/dependencies=.*/dependencies=["alpha>=1"]/' pyproject.toml; printf '[[tool.uv.index]]\nurl="%s/simple"\ndefault=true\n' $REGISTRY >> pyproject.toml
#---
uv lock --check
