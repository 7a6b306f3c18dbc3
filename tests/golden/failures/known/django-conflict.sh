# label: migration
mkdir -p app/migrations; touch app/__init__.py app/migrations/__init__.py; for n in 0002_a 0002_b; do printf 'from django.db import migrations\nclass Migration(migrations.Migration):\n    dependencies=[("app","0001_i")]\n' > app/migrations/$n.py; done; printf 'from django.db import migrations\nclass Migration(migrations.Migration):\n    initial=True\n    dependencies=[]\n' > app/migrations/0001_i.py; printf 'SECRET_KEY="x"+"y"\nINSTALLED_APPS=["app"]\nDATABASES={"default":{"ENGINE":"django.db.backends.sqlite3","NAME":"x.db"}}\n' > settings.py
#---
DJANGO_SETTINGS_MODULE=settings PYTHONPATH=. python -m django migrate
