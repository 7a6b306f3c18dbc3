# label: module-missing
printf 'import stripe_client\n\ndef test_pay():\n    assert stripe_client\n' > test_pay.py
#---
pytest
