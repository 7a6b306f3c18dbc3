# label: format
printf 'import sys\nimport os\n' > app.py
#---
isort --check-only app.py
