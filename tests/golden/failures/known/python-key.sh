# label: uncaught-exception
#---
python -c "{'a': 1}['b']"
