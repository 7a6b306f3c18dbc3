# label: variable-missing|uncaught-exception
printf 'import os\nSECRET_KEY=os.environ.get("DJANGO_SECRET","")\n' > settings.py
#---
DJANGO_SETTINGS_MODULE=settings python -m django check --deploy --fail-level WARNING
