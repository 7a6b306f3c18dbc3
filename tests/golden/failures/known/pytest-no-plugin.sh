# label: plugin-missing|usage
printf 'def test_a(): pass\n' > test_a.py
#---
python -m pytest -p no:cov -p no:pytest_cov -p no:timeout --timeout 5 --reruns 2 test_a.py
