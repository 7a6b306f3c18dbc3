# label: test-failed
printf 'def test_msg():\n    got = "No space left on device"\n    assert got == "disk quota exceeded"\n' > test_m.py
#---
python -m pytest -q test_m.py
