# label: test-failed|test-error
printf 'import unittest\n\nclass A(unittest.TestCase):\n    def test_a(self):\n        {}["x"]\n' > test_a.py
#---
python -m unittest -v test_a
