# label: import-error|test-collection
printf 'X = 1\n' > shop_prices.py; printf 'from shop_prices import discount\n\ndef test_d():\n    assert discount\n' > test_prices.py
#---
python -m pytest -q test_prices.py
