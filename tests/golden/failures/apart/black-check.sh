# label: format
printf 'x = {  "a":1 }\n' > app.py
#---
black --check app.py
