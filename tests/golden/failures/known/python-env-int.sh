# label: uncaught-exception|variable-missing
#---
python -c "import os; int(os.environ.get('WORKERS', ''))"
