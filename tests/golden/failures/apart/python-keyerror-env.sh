# label: variable-missing|uncaught-exception
printf 'import os\n\nurl = os.environ["DATABASE_URL"]\nprint(url)\n' > settings.py
#---
python settings.py
