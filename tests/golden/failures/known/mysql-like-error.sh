# label: database|uncaught-exception|migration
#---
python -c "import sqlite3; c = sqlite3.connect(':memory:'); c.execute('create table a (x unique)'); [c.execute('insert into a values (1)') for _ in range(2)]"
