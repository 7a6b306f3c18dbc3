# label: lint
printf 'import json\n' > a.py
#---
ruff check .
