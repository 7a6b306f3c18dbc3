# label: test-failed
printf 'from hypothesis import given, strategies as s\n@given(s.integers())\ndef test_i(x):\n    assert x < 100\n' > test_i.py
#---
python -m pytest -q test_i.py
