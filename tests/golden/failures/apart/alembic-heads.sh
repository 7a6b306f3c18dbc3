# label: migration
mkdir -p m/versions; printf '[alembic]\nscript_location = m\nsqlalchemy.url = sqlite:///x.db\n' > alembic.ini
printf 'from alembic import context\nfrom sqlalchemy import create_engine\ne=create_engine("sqlite:///x.db")\nwith e.connect() as c:\n    context.configure(connection=c)\n    with context.begin_transaction():\n        context.run_migrations()\n' > m/env.py
for r in a1 b2; do printf 'revision="%s"\ndown_revision=None\ndef upgrade(): pass\ndef downgrade(): pass\n' $r > m/versions/$r.py; done
#---
alembic upgrade head
