# label: test-failed
# whole: 1
printf 'def test_d():\n    assert 1 == 3\n' > test_d.py
#---
for n in 1 2; do
  curl -sS http://127.0.0.1:9/ready || echo "attempt $n of 2: the service is not ready"
done
python -m pytest -q test_d.py
