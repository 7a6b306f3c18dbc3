# label: toml-syntax|syntax-error
printf '[tool\n' > pyproject.toml
#---
python -c "import tomllib; tomllib.load(open('pyproject.toml','rb'))"
