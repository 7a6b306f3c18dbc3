# label: lint
printf 'def f():\n    return missing\n' > app.py
#---
pylint --disable=all --enable=E app.py
