# label: variable-missing|test-failed
printf 'import os\n\ndef test_e():\n    assert os.environ["PAYMENT_URL"]\n' > test_e.py
#---
python -m pytest -q test_e.py
