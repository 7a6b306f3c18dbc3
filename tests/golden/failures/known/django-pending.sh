# label: migration
mkdir -p proj/app/migrations; touch proj/app/__init__.py proj/app/migrations/__init__.py; printf 'from django.db import models\nclass Order(models.Model):\n    class Meta:\n        app_label="app"\n' > proj/app/models.py; printf 'SECRET_KEY="x"+"y"\nINSTALLED_APPS=["app"]\nDATABASES={"default":{"ENGINE":"django.db.backends.sqlite3","NAME":":memory:"}}\nDEFAULT_AUTO_FIELD="django.db.models.AutoField"\n' > proj/settings.py
#---
cd proj
DJANGO_SETTINGS_MODULE=settings PYTHONPATH=. python -m django makemigrations --check --dry-run
