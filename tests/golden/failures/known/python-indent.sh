# label: syntax-error
printf 'def f():\n  a = 1\n    b = 2\n' > a.py
#---
python a.py
