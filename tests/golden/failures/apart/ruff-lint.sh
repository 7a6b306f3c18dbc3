# label: lint
printf 'import os\nimport sys\n\n\ndef f():\n    x = 1\n    return undefined_name\n' > app.py
#---
ruff check app.py
