# label: test-failed
printf '"""\n>>> 1 + 1\n3\n"""\n' > d.py
#---
python -m doctest d.py
