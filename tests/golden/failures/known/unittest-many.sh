# label: test-failed
printf 'import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertTrue(False)\n    def test_b(self):\n        self.assertEqual("a", "b", "names differ")\n' > test_t.py
#---
python -m unittest
