# label: test-failed
mkdir tests; printf 'from decimal import Decimal\n\ndef total(items):\n    return sum(items)\n\ndef test_total_with_tax():\n    assert total([10, 20]) == 33\n\ndef test_other():\n    assert True\n' > tests/test_prices.py
#---
python -m pytest -q tests
