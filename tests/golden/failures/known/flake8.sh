# label: lint
printf 'import os\nx=1\n' > app.py
#---
flake8 app.py
