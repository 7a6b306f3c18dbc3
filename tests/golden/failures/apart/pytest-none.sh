# label: no-tests
mkdir tests; printf 'def check_total(): pass\n' > tests/prices.py
#---
pytest tests
