# label: test-collection|syntax-error
printf 'def test_x(:\n    pass\n' > test_x.py
#---
pytest -q
