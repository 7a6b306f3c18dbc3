# label: coverage-low
printf 'def a(x):\n    if x:\n        return 1\n    return 2\n' > m.py; printf 'from m import a\ndef test_a(): assert a(1) == 1\n' > test_m.py
#---
coverage run -m pytest -q
coverage report --fail-under 100
