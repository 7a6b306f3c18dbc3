# label: syntax-error|lint
printf 'def f(:\n' > a.py
#---
ruff check a.py
