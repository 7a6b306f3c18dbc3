# label: format
printf 'x = {  "a":1 }\n' > app.py
#---
ruff format --check .
