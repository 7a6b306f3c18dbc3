# label: coverage-low
printf 'def a():\n    return 1\n\ndef b():\n    return 2\n\ndef c():\n    return 3\n' > mod.py
printf 'import mod\n\ndef test_a():\n    assert mod.a() == 1\n' > test_mod.py
#---
pytest -q --cov=mod --cov-fail-under=90
