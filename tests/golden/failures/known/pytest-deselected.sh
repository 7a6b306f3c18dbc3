# label: no-tests
printf 'def test_a(): pass\n' > test_a.py
#---
python -m pytest -q -k nothing_like_it
