# label: migration
mkdir -p m/versions; printf '[alembic]\nscript_location = m\nsqlalchemy.url = sqlite:///x.db\n' > alembic.ini
printf 'from alembic import context\nfrom sqlalchemy import create_engine, MetaData\ne=create_engine("sqlite:///x.db")\nwith e.connect() as c:\n    context.configure(connection=c, target_metadata=MetaData())\n    with context.begin_transaction():\n        context.run_migrations()\n' > m/env.py
printf 'revision="a1"\ndown_revision=None\ndef upgrade(): pass\ndef downgrade(): pass\n' > m/versions/a1.py
#---
alembic check
