# label: usage
printf 'def test_a(): pass\n' > test_a.py
#---
pytest --no-such-option test_a.py
