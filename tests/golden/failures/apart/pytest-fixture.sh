# label: test-failed|test-error
printf 'def test_uses(database):\n    assert database\n' > test_db.py
#---
pytest test_db.py
