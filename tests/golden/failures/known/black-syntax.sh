# label: syntax-error|format
printf 'def f(:\n' > a.py
#---
black --check a.py
