# label: test-failed
printf 'import unittest\n\nclass Prices(unittest.TestCase):\n    def test_round(self):\n        self.assertEqual(round(2.5), 3)\n\nif __name__ == "__main__":\n    unittest.main()\n' > test_round.py
#---
python -m unittest test_round
