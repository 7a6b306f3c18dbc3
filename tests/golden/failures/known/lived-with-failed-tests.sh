# label: disk-full
printf 'def test_a():\n    assert 1 == 2\n' > test_a.py
#---
python -m pytest -q test_a.py || echo "known to fail on this branch"
python -c "open('/dev/full','w').write('x'*100000)"
