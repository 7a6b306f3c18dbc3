# label: toml-syntax|syntax-error|build-failed
printf '[project\nname="x"\n' > pyproject.toml
#---
pip install .
