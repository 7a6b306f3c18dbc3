# label: syntax-error
printf 'if True:\n\tx = 1\n        y = 2\n' > a.py
#---
python a.py
