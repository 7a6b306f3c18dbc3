# label: uncaught-exception
#---
python -c "assert 1 == 2, 'prices differ'"
