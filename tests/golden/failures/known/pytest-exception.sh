# label: test-failed
printf 'def load(name):\n    return {}[name]\n\ndef test_load():\n    assert load("orders") == 1\n' > test_load.py
#---
pytest test_load.py
