# label: encoding|syntax-error
printf 'x = "\xe9"\n' > a.py
#---
python a.py
