# label: types
printf 'def f() -> int:\n    return "a"\nf().upper()\n' > a.py
#---
mypy --strict a.py
