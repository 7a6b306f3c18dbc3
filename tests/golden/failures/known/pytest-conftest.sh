# label: test-collection|import-error|module-missing
printf 'from no_such_plugin import fixture\n' > conftest.py; printf 'def test_a(): pass\n' > test_a.py
#---
pytest -q
